"""Models of other places as files to upload: networks, folders and ids of Transformers, MLflow.

Everything is resolved on this machine, with its caches and access rights. The service contacts no
hub and no tracking server.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unitrank.errors import NotPossible
from unitrank.exporting import export, export_folder

MLFLOW = ("models:/", "runs:/")
"""How URIs of models in MLflow begin."""
HUB_FILES = ["config.json", "*.safetensors", "*.safetensors.index.json"]
"""The files of a model that are read; a file with code never is."""
HUB_OPTIONS = ("inputs", "position", "shape")


def is_mlflow(model: object) -> bool:
    """Whether the model is a URI of MLflow, such as `models:/net/3`."""
    return isinstance(model, str) and model.startswith(MLFLOW)


@contextmanager
def model_archive(model: Any, example_inputs: Any) -> Iterator[Path]:
    """Yields the file to upload: the given file, or an archive that a network is exported to.

    `model`: a torch.nn.Module, a URI of MLflow, or the path of a file. Raises NotPossible.
    """
    if isinstance(model, str | Path) and not is_mlflow(model):
        yield _file(Path(model))
        return
    if is_mlflow(model):
        model, saved_example = _from_mlflow(model)
        example_inputs = saved_example if example_inputs is None else example_inputs
    if example_inputs is None:
        raise NotPossible("example_inputs is missing: a network is exported with it; give for example example_inputs=x[:1]")
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        export(model, example_inputs, Path(folder, "model.pt2"))
        yield Path(folder, "model.pt2")


@contextmanager
def hub_archive(hub: str | Path, options: Mapping[str, Any]) -> Iterator[Path]:
    """Yields an archive of a Transformers model, made on this machine.

    `hub`: a folder that `save_pretrained` wrote, or the id of a model on the Hugging Face hub.
    `options`: `shape`, `position` and `inputs` of `export_folder`. Raises NotPossible.
    """
    unknown = sorted(set(options) - set(HUB_OPTIONS))
    if unknown:
        raise NotPossible(
            f"argument {unknown[0]!r} is unknown for a model of the hub; use {', '.join(HUB_OPTIONS)}", code="invalid_request"
        )
    folder = Path(hub) if Path(hub).is_dir() else _download(str(hub))
    with tempfile.TemporaryDirectory(prefix="unitrank-") as name:
        export_folder(folder, Path(name, "model.pt2"), **options)
        yield Path(name, "model.pt2")


def _file(path: Path) -> Path:
    if path.is_dir():
        raise NotPossible(
            f"{path} is a folder; for a folder of Transformers give hub={str(path)!r} (on the command line --hub {path}), "
            "otherwise the path of a file",
            code="no_file",
        )
    if not path.is_file():
        raise NotPossible(
            f"the file {path} does not exist; give the path of a model archive or of a safetensors file", code="no_file"
        )
    return path


def _download(id: str) -> Path:
    """The folder of a model of the hub, in the cache of this machine."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise NotPossible(
            f"{id!r} is not a folder, and huggingface_hub, which reads models of the hub, is not installed: "
            "pip install 'unitrank[transformers]'",
            code="not_installed",
        ) from error
    try:
        return Path(snapshot_download(id, allow_patterns=HUB_FILES))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise NotPossible(
            f"{id!r} is not a folder, and cannot be read as the id of a model on the hub: {error}", code="no_file"
        ) from error


def _from_mlflow(uri: str) -> tuple[Any, Any]:
    """The network of a URI of MLflow, and the input example that was saved with it or None."""
    try:
        import mlflow.pytorch
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model
    except ImportError as error:
        raise NotPossible(
            f"{uri} needs MLflow and PyTorch ({error}): pip install mlflow-skinny torch", code="not_installed"
        ) from error
    try:
        return mlflow.pytorch.load_model(uri, map_location="cpu"), _array_like(Model.load(uri).load_input_example(uri))
    except (MlflowException, OSError) as error:
        raise NotPossible(f"{uri} cannot be loaded as a network of PyTorch: {error}", code="no_file") from error


def _array_like(example: Any) -> Any:
    """The input example as `export` takes it: a frame of columns as an array."""
    return example.to_numpy() if hasattr(example, "to_numpy") else example
