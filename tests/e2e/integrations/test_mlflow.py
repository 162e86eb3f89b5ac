"""MLflow with a real tracking server: results are logged to it, models come from its registry."""

import os
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.support.environments.installations import environment
from tests.support.environments.separate import separate
from tests.support.polling import wait_until
from unitrank.addresses import claim_port
from unitrank.client.sync import Client
from unitrank.mlflow import log_job

pytestmark = pytest.mark.integrations


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tracking server with a database and artifacts of its own."""
    programs, folder, port = separate("mlflow", beside_tests=True), tmp_path_factory.mktemp("mlflow"), claim_port("127.0.0.1", 0)
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    command = [programs / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *stores]
    variables = {"PATH": f"{programs}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    with log.open("wb") as written:
        server = subprocess.Popen(
            command, cwd=folder, env=environment() | variables, stdout=written, stderr=written, start_new_session=True
        )
    try:
        wait_until(lambda: _answers(url, server, log), "the tracking server answers", seconds=90)
        yield url
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def _answers(url: str, server: subprocess.Popen[bytes], log: Path) -> bool:
    assert server.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def mlflow(tracking: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow of this process uses the server."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking)
    mlflow.set_experiment("unitrank")
    yield
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


def test_mlflow_when_a_job_is_logged_then_the_server_has_its_verdict_and_its_files(
    mlflow: None, tracking: str, client: Client, files: tuple[Path, Path]
) -> None:
    import mlflow as api

    client.models.put("mlflow-net", files[0])
    client.datasets.put("mlflow-data", files[1])
    request = {"model": "mlflow-net", "layer": "relu1", "dataset": "mlflow-data", "methods": ["conductance"]}
    result = client.jobs.submit(request).result(timeout=90)
    with api.start_run() as active:
        log_job(result)

    run = httpx.get(f"{tracking}/api/2.0/mlflow/runs/get", params={"run_id": active.info.run_id}).json()["run"]["data"]
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert (tags["unitrank.job"], tags["unitrank.best"]) == (result.summary.job, "conductance")
    assert tags["unitrank.verdict"] == result.leaderboard[0].verdict
    assert {metric["key"] for metric in run["metrics"]} >= {
        "unitrank.conductance.p_family",
        "unitrank.conductance.prediction_error",
    }
    table = api.load_table("unitrank/leaderboard.json", run_ids=[active.info.run_id])
    assert table["ranking"].tolist() == ["conductance"]


@pytest.mark.parametrize("format", ["pt2", "pickle"])
def test_mlflow_when_a_model_is_registered_then_its_version_becomes_a_model_of_the_service(
    mlflow: None, client: Client, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow as api

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    torch.manual_seed(1)
    net = nn.Sequential()
    net.add_module("hidden", nn.Linear(4, 6))
    net.add_module("relu", nn.ReLU())
    net.add_module("head", nn.Linear(6, 3))
    example = np.zeros((2, 4), np.float32)
    with warnings.catch_warnings():
        # MLflow and PyTorch warn about their own code.
        warnings.simplefilter("ignore")
        with api.start_run():
            api.pytorch.log_model(
                net, name="net", input_example=example, registered_model_name=f"net-{format}", serialization_format=format
            )
        model = client.models.put(f"from-{format}", f"models:/net-{format}/1")

    assert (model.status, [layer.name for layer in model.layers or []]) == ("ready", ["input", "hidden", "relu", "head"])
    assert model.inputs is not None
    assert model.inputs[0].shape == [None, 4]
