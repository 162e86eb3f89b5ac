"""Over HTTP: given scores from the array to the result, by each way that they can be sent."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import unitrank
from unitrank.cli.main import app
from unitrank.client.sync import Client

pytestmark = pytest.mark.check

COUNT, UNITS = 40, 30_000
X = np.random.default_rng(0).normal(size=(COUNT, 8)).astype(np.float32)
Y = np.arange(COUNT) % 2
SCORES = {name: np.random.default_rng(int(name)).normal(size=UNITS) for name in ("0", "1")}
REQUEST = {
    "model": "given",
    "layer": "1",
    "dataset": "given",
    "clusters": {"by": "label"},
    "ablation": {"random": 9, "fractions": [0.1]},
    "fidelity": None,
}


@pytest.fixture(scope="module")
def contents(url: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, UNITS), nn.ReLU(), nn.Linear(UNITS, 2))
    with Client(url) as client:
        client.models.put("given", network, X[:2])
        client.datasets.put("given", x=X, y=Y, made=np.arange(COUNT) < 10)


def test_scores_when_they_are_too_large_for_a_request_then_the_job_reads_their_dataset(contents: None, client: Client) -> None:
    job = client.jobs.submit(REQUEST, methods=["activation"], given={"mine": SCORES})
    result = job.result(timeout=120, quiet=True)
    (name,) = [dataset.name for dataset in client.datasets.list() if dataset.name.startswith("given-mine-")]
    record = client.datasets.get(name)
    method = result.summary.rankings[1].method

    assert method["scores"] == f"{name}@{record.digest}"
    for cluster, scores in SCORES.items():
        np.testing.assert_allclose(result.importances("mine")[cluster], scores, rtol=1e-6)
    # The same scores again are the same content, and so the same job.
    assert client.jobs.submit(REQUEST, methods=["activation"], given={"mine": SCORES}).id == job.id


def test_scores_when_sent_by_the_command_line_then_are_those_of_the_file(
    contents: None, client: Client, tmp_path: Path, url: str
) -> None:
    np.savez(tmp_path / "scores.npz", importance=np.stack([SCORES["1"], SCORES["0"]]), cluster=["1", "0"])
    (tmp_path / "job.json").write_text(json.dumps(REQUEST | {"methods": ["activation"], "seed": 1}))
    arguments = ["submit", "--file", str(tmp_path / "job.json"), "--given", f"mine={tmp_path / 'scores.npz'}", "--made-on", "made"]

    done = CliRunner().invoke(app, [*arguments, "--url", url, "--wait", "--json"])
    assert done.exit_code == 0, done.output
    summary = client.jobs.get(json.loads(done.stdout)["id"]).summary()

    assert [ranking.id for ranking in summary.rankings] == ["activation", "mine"]
    assert [(cluster.ranked_on, cluster.tested_on) for cluster in summary.clusters] == [(10, 10)] * 2
    assert summary.rankings[1].clusters["0"].top[0].unit == int(SCORES["0"].argmax())
    assert "in_sample_unknown" not in {warning.code for warning in summary.warnings}


def test_scores_when_their_values_are_nan_then_the_job_fails_with_the_place(contents: None, client: Client) -> None:
    broken = np.stack(list(SCORES.values()))
    broken[1, 7] = np.nan
    client.datasets.put("given-broken", importance=broken, cluster=["0", "1"])
    job = client.jobs.submit(REQUEST, methods=[{"name": "given", "scores": "given-broken"}])

    with pytest.raises(unitrank.JobFailed) as caught:
        job.wait(timeout=120, quiet=True)

    assert caught.value.code == "non_finite"
    assert "cluster '1' is NaN or infinite at position 7" in str(caught.value)
