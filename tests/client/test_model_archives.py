"""Networks of MLflow and of Transformers become files to upload, on the user's machine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.transformers import BERT, saved
from unitrank.errors import NotPossible
from unitrank.model_archives import hub_archive, model_archive

pytestmark = pytest.mark.check


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow with its models in a folder. It contacts no server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow
    import mlflow.pytorch

    tracking, registered = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    mlflow.set_registry_uri((tmp_path / "runs").as_uri())
    yield mlflow
    mlflow.set_tracking_uri(tracking)
    mlflow.set_registry_uri(registered)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["pickle", "pt2"])
def test_mlflow_when_a_version_is_named_then_its_network_and_example_are_exported(registry: Any, kind: str) -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with registry.start_run():
        registry.pytorch.log_model(
            network, name="net", registered_model_name="net", input_example=x, pip_requirements=[], serialization_format=kind
        )

    with model_archive("models:/net/1", None) as archive:
        computed = torch.export.load(archive).module()(torch.from_numpy(x))

    torch.testing.assert_close(computed, network(torch.from_numpy(x)))


def test_mlflow_when_the_model_does_not_exist_then_the_error_names_it(registry: Any) -> None:
    with pytest.raises(NotPossible, match="models:/gone/1 cannot be loaded"), model_archive("models:/gone/1", None):
        pass


def test_hub_when_it_is_a_folder_then_options_reach_the_export(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    saved(tmp_path / "saved", BERT, "BertForSequenceClassification")

    with hub_archive(tmp_path / "saved", {"shape": [6]}) as archive:
        ids = torch.zeros(3, 6, dtype=torch.int64)
        logits = torch.export.load(archive).module()(input_ids=ids, attention_mask=ids + 1)["logits"]

    assert logits.shape == (3, 3)


def test_hub_when_it_is_an_id_then_only_weights_and_configuration_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    saved(tmp_path / "saved", BERT, "BertForSequenceClassification")
    asked: list[Any] = []

    def snapshot_download(id: str, allow_patterns: list[str]) -> str:
        asked.append((id, allow_patterns))
        return str(tmp_path / "saved")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    with hub_archive("group/net", {"shape": [6]}) as archive:
        assert archive.is_file()

    assert asked == [("group/net", ["config.json", "*.safetensors", "*.safetensors.index.json"])]


@pytest.mark.parametrize(
    ("hub", "options", "words"),
    [
        ("no id at all", {}, "'no id at all' is not a folder, and cannot be read as the id"),
        ("group/net", {"revision": "x"}, "argument 'revision' is unknown"),
    ],
)
def test_hub_when_it_is_wrong_then_the_error_says_what_is_accepted(hub: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(NotPossible, match=words), hub_archive(hub, options):
        pass
