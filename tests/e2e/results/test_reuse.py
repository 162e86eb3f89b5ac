"""Partial reuse over HTTP: what an earlier job of the same contents has computed is not computed again."""

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
    """A model and a dataset that are there."""
    folder = tmp_path_factory.mktemp("reuse")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 3))
    x = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(300) % 3)
    with Client(url) as client:
        client.models.put("reuse", save(net, folder / "net.pt2", torch.zeros(2, 12)))
        client.datasets.put("reuse", folder / "data.npz")


def ran(http: httpx.Client, methods: list[Any], headers: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """The summary of a job that was waited for."""
    posted = http.post("/v1/jobs", json={**JOB, "methods": methods, **changes}, headers=headers)
    assert posted.status_code == 202, posted.text
    ended = http.get(f"/v1/jobs/{posted.json()['id']}?wait=60").json()
    assert ended["status"] == "succeeded", ended
    summary: dict[str, Any] = http.get(f"/v1/jobs/{ended['id']}/result").json()
    return summary


def arrays(http: httpx.Client, summary: dict[str, Any]) -> bytes:
    return http.get(f"/v1/jobs/{summary['job']}/result", headers={"Accept": "application/vnd.safetensors"}).content


@pytest.mark.usefixtures("ready")
def test_job_when_an_earlier_one_did_most_of_it_then_only_the_rest_is_computed(http: httpx.Client) -> None:
    first = ran(http, FIRST)
    more = ran(http, [*FIRST, "deeplift"])
    anew = ran(http, [*FIRST, "deeplift"], {"Cache-Control": "no-cache"})
    steps = ran(http, ["gradient", {"name": "conductance", "steps": 20}])

    assert first["cost"]["reused"] == []
    assert more["cost"]["reused"] == ["clusters", "controls", "gradient", "conductance"]
    assert steps["cost"]["reused"] == ["clusters", "controls", "gradient"]
    assert more["cost"]["forward_rows"] < 0.2 * first["cost"]["forward_rows"]
    # forced: nothing is read, and the result is the same to the bit
    assert anew["cost"]["reused"] == []
    assert repeatable(anew) | {"job": ""} == repeatable(more) | {"job": ""}
    assert arrays(http, anew) == arrays(http, more)


@pytest.mark.usefixtures("ready")
def test_job_when_the_seed_is_another_then_nothing_is_reused(http: httpx.Client) -> None:
    ran(http, FIRST, seed=7)

    assert ran(http, FIRST, seed=8)["cost"]["reused"] == []
    assert ran(http, FIRST[::-1], seed=7)["cost"]["forward_rows"] == 0
