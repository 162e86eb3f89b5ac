"""Uploads of models and datasets, as flows: from files, networks, arrays or URIs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.client.endpoints import Calls
from unitrank.client.http.operations import Flow, work
from unitrank.client.progress import uploading
from unitrank.client.requests import C, content_path
from unitrank.client.tables import table_file
from unitrank.errors import NotPossible
from unitrank.exporting import export
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.models import MODEL_FORMATS, Model

if TYPE_CHECKING:
    import torch


def put_model(
    calls: Calls,
    name: str,
    model: str | Path | torch.nn.Module | None,
    example_inputs: Any,
    *,
    uri: str | None,
    options: Mapping[str, Any],
    wait: bool,
    quiet: bool,
) -> Flow[Model]:
    """Uploads the model, and waits until it is ready if `wait` is set.

    `options` are those of the model's format; an option that is None is not sent.
    """
    record = yield from _put_model(calls, name, model, example_inputs, uri=uri, query=_query(options), quiet=quiet)
    return (yield from _ready(calls, name, record, wait))


def put_dataset(
    calls: Calls, name: str, data: Any, *, uri: str | None, fields: Mapping[str, Any], wait: bool, quiet: bool
) -> Flow[Dataset]:
    """Uploads the dataset, and waits until it is ready if `wait` is set."""
    record = yield from _put_dataset(calls, name, data, uri=uri, fields=fields, quiet=quiet)
    return (yield from _ready(calls, name, record, wait))


def _ready(calls: Calls, name: str, record: C, wait: bool) -> Flow[C]:
    if not wait or record.status == "ready":
        return record
    return (yield from calls.until_ready(content_path(type(record), name), type(record)))


def _put_model(
    calls: Calls,
    name: str,
    model: str | Path | torch.nn.Module | None,
    example_inputs: Any,
    *,
    uri: str | None,
    query: Mapping[str, str],
    quiet: bool,
) -> Flow[Model]:
    path = content_path(Model, name)
    if (model is None) == (uri is None):
        given = "neither a model nor a uri was given" if uri is None else f"both a model and uri={uri!r} were given"
        raise NotPossible(f"{given}; give a network, the path of a file, or uri=…", code="invalid_request")
    if uri is not None:
        return (yield from calls.put_uri(path, uri, Model, query))
    with ExitStack() as stack:
        file = yield from work(lambda: stack.enter_context(_archive(model, example_inputs)))
        on_sent = stack.enter_context(uploading(name, file, quiet))
        return (yield from calls.put_file(path, file, Model, on_sent, query))


def _query(options: Mapping[str, Any]) -> dict[str, str]:
    """The options as query parameters: a text as it is, any other value as JSON.

    Raises TypeError for an option that no model format has.
    """
    allowed = {parameter for format in MODEL_FORMATS.values() for parameter in format.parameters}
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise TypeError(f"option {unknown[0]!r} is unknown: no model format has it; use one of {', '.join(sorted(allowed))}")
    values = {name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _put_dataset(calls: Calls, name: str, data: Any, *, uri: str | None, fields: Mapping[str, Any], quiet: bool) -> Flow[Dataset]:
    path = content_path(Dataset, name)
    if uri is not None:
        if data is not None or fields:
            raise NotPossible(f"both data and uri={uri!r} were given; give one of them", code="invalid_request")
        return (yield from calls.put_uri(path, uri, Dataset))
    with ExitStack() as stack:
        file = yield from work(lambda: stack.enter_context(table_file(data, fields)))
        on_sent = stack.enter_context(uploading(name, file, quiet))
        return (yield from calls.put_file(path, file, Dataset, on_sent))


@contextmanager
def _archive(model: Any, example_inputs: Any) -> Iterator[Path]:
    """Yields the file to upload: the given file, or an archive that a network is exported to."""
    if isinstance(model, str | Path):
        if Path(model).is_dir():
            raise NotPossible(
                f"{model} is a folder; give a file, such as the archive that `unitrank export {model} net.pt2` writes "
                "from a folder of Transformers",
                code="no_file",
            )
        if not Path(model).is_file():
            raise NotPossible(
                f"the file {model} does not exist; give the path of a model archive or of a safetensors file", code="no_file"
            )
        yield Path(model)
        return
    if example_inputs is None:
        raise NotPossible("example_inputs is missing: a network is exported with it; give for example example_inputs=x[:1]")
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        export(model, example_inputs, Path(folder, "model.pt2"))
        yield Path(folder, "model.pt2")
