"""Logging a result to MLflow itself, which stores its runs in a folder."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import unitrank
from unitrank.mlflow import clean, log_job

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def job_result() -> unitrank.JobResult:
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    methods = ["gradient", {"name": "conductance", "id": "path"}]
    return unitrank.rank(network, "1", x, np.arange(20) % 2, methods=methods, ablation={"random": 19})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of MLflow's runs. MLflow contacts no server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield tmp_path / "runs"
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


@pytest.mark.check
def test_job_when_logged_then_the_run_has_verdicts_tables_pictures_and_origin(job_result: unitrank.JobResult, folder: Path) -> None:
    import mlflow

    with mlflow.start_run() as active:
        log_job(job_result)
    client = mlflow.MlflowClient()
    run = client.get_run(active.info.run_id)
    files = Path(client.download_artifacts(active.info.run_id, "unitrank"))

    for leader in job_result.leaderboard:
        assert run.data.metrics[f"unitrank.{leader.ranking}.better_than_random"] == leader.better_than_random / leader.of
        assert run.data.metrics[f"unitrank.{leader.ranking}.prediction_error"] == pytest.approx(leader.mae)
    assert run.data.tags["unitrank.best"] == job_result.best
    assert run.data.tags["unitrank.verdict"] == job_result.leaderboard[0].verdict
    assert run.data.tags["unitrank.model"] == job_result.summary.model.digest
    assert unitrank.load(files / "result.npz").summary == job_result.summary
    assert json.loads((files / "summary.json").read_text())["layer"]["name"] == "1"
    assert job_result.to_markdown() == (files / "leaderboard.md").read_text()
    for name in ("ablation", "importance", "heatmap", "leaderboard", "agreement"):
        assert (files / f"{name}.png").read_bytes().startswith(PNG)
    table = mlflow.load_table("unitrank/leaderboard.json", run_ids=[active.info.run_id])
    assert table["ranking"].tolist() == [leader.ranking for leader in job_result.leaderboard]
    clusters = mlflow.load_table("unitrank/clusters.json", run_ids=[active.info.run_id])
    assert len(clusters) == 2 * 2


@pytest.mark.check
def test_job_of_several_layers_when_logged_then_its_numbers_have_the_layer(folder: Path) -> None:
    import mlflow

    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    result = unitrank.rank(network, ["1", "3"], x, np.arange(20) % 2, methods=["gradient"], ablation={"random": 19}, joint=True)
    with mlflow.start_run() as active:
        log_job(result)
    client = mlflow.MlflowClient()
    run = client.get_run(active.info.run_id)
    files = Path(client.download_artifacts(active.info.run_id, "unitrank"))

    for layer in ("1", "3", "joint"):
        leader = result[layer].leaderboard[0]
        assert run.data.metrics[f"unitrank.{layer}.gradient.better_than_random"] == leader.better_than_random / leader.of
        assert run.data.tags[f"unitrank.{layer}.best"] == "gradient"
        assert (files / f"{layer}.ablation.png").read_bytes().startswith(PNG)
    assert (files / "layers.png").read_bytes().startswith(PNG)
    assert run.data.tags["unitrank.layer"] == "1, 3"
    assert list(unitrank.load(files / "result.npz")) == ["1", "3"]
    table = mlflow.load_table("unitrank/layers.json", run_ids=[active.info.run_id])
    assert table["layer"].tolist() == ["1", "3", "joint"]


@pytest.mark.check
def test_job_when_a_run_is_named_or_none_is_active_then_is_logged_there(job_result: unitrank.JobResult, folder: Path) -> None:
    import mlflow

    with mlflow.start_run() as other:
        pass
    log_job(job_result, other.info.run_id, folder="job-1")
    assert mlflow.active_run() is None
    log_job(job_result)
    active_run = mlflow.active_run()

    assert active_run is not None
    for run, place in ((other, "job-1"), (active_run, "unitrank")):
        assert mlflow.MlflowClient().list_artifacts(run.info.run_id, place) != []


def test_job_when_pandas_and_matplotlib_are_missing_then_the_rest_is_logged(
    job_result: unitrank.JobResult, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    for module in ("pandas", "unitrank_plots.figures"):
        monkeypatch.setitem(sys.modules, module, None)
    with mlflow.start_run() as run:
        log_job(job_result)

    names = [Path(file.path).name for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "unitrank")]
    assert names == ["leaderboard.md", "result.npz", "summary.json"]


def test_name_when_mlflow_refuses_its_letters_then_is_cleaned(folder: Path) -> None:
    import mlflow

    odd = "unitrank.größe/../β#1\n" + "x" * 300
    with mlflow.start_run() as run:
        mlflow.log_metric(clean(odd), 1.0)

    (name,) = mlflow.MlflowClient().get_run(run.info.run_id).data.metrics
    assert name.startswith("unitrank.gr__e_.._")
    assert clean("unitrank.gradient.mean_abs-2.p_value") == "unitrank.gradient.mean_abs-2.p_value"


def test_mlflow_when_it_is_missing_then_the_error_names_the_package(
    job_result: unitrank.JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(unitrank.NotPossible, match="pip install mlflow-skinny"):
        log_job(job_result)
