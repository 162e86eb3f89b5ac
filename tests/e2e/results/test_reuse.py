"""Over HTTP: a job reuses the parts that an earlier job of the same contents computed."""

from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import save
from tests.engine.reuse.test_reuse import repeatable
from unitrank.client.sync import Client

JOB = {"model": "reuse", "dataset": "reuse", "layer": "1", "clusters": {"by": "prediction"}, "keep_examples": 2}
FIRST = ["gradient", {"name": "conductance", "steps": 10}]


@pytest.fixture(scope="module")
def ready(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Upload a model and a dataset."""
    folder = tmp_path_factory.mktemp("reuse")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 3))
    x = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(300) % 3)
    with Client(url) as client:
        client.models.put("reuse", save(net, folder / "net.pt2", torch.zeros(2, 12)))
        client.datasets.put("reuse", folder / "data.npz")


def run_job(http: httpx.Client, methods: list[Any], headers: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Post a job and wait until it has succeeded; returns its summary."""
    posted = http.post("/v1/jobs", json={**JOB, "methods": methods, **changes}, headers=headers)
    assert posted.status_code == 202, posted.text
    ended = http.get(f"/v1/jobs/{posted.json()['id']}?wait=60").json()
    assert ended["status"] == "succeeded", ended
    summary: dict[str, Any] = http.get(f"/v1/jobs/{ended['id']}/result").json()
    return summary


def arrays(http: httpx.Client, summary: dict[str, Any]) -> bytes:
    return http.get(f"/v1/jobs/{summary['job']}/result", headers={"Accept": "application/vnd.safetensors"}).content


@pytest.mark.usefixtures("ready")
def test_job_when_an_earlier_job_computed_most_of_it_then_only_the_rest_is_computed(http: httpx.Client) -> None:
    first = run_job(http, FIRST)
    more = run_job(http, [*FIRST, "deeplift"])
    without_reuse = run_job(http, [*FIRST, "deeplift"], {"Cache-Control": "no-cache"})
    steps = run_job(http, ["gradient", {"name": "conductance", "steps": 20}])

    assert first["cost"]["reused"] == []
    assert more["cost"]["reused"] == ["clusters", "controls", "gradient", "conductance"]
    assert steps["cost"]["reused"] == ["clusters", "controls", "gradient"]
    # A ranking brings relabelled controls of its own. With two rankings, one ranking and the shared
    # controls are about a third of the first job each.
    assert more["cost"]["forward_rows"] < 0.3 * first["cost"]["forward_rows"]
    # With no-cache no earlier part is read, and the result is the same to the bit.
    assert without_reuse["cost"]["reused"] == []
    assert repeatable(without_reuse) | {"job": ""} == repeatable(more) | {"job": ""}
    assert arrays(http, without_reuse) == arrays(http, more)


@pytest.mark.usefixtures("ready")
def test_job_when_its_seed_differs_then_nothing_is_reused(http: httpx.Client) -> None:
    run_job(http, FIRST, seed=7)

    assert run_job(http, FIRST, seed=8)["cost"]["reused"] == []
    assert run_job(http, FIRST[::-1], seed=7)["cost"]["forward_rows"] == 0
