"""Over HTTP: clusters of the values of a layer."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from safetensors.numpy import load
from torch import nn

from tests.e2e.conftest import save
from unitrank.client.sync import Client

Json = dict[str, Any]


@pytest.fixture
def job(client: Client, tmp_path: Path) -> Json:
    """A request for two clusters of 30 and 20 examples; the first feature's sign differs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    client.models.put("blobs", save(net, tmp_path / "net.pt2", torch.zeros(2, 3)))
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[:, 0] = np.where(np.arange(50) % 5 < 3, 50, -50)
    np.savez(tmp_path / "data.npz", x=x)
    client.datasets.put("blobs", tmp_path / "data.npz")
    clusters = {"by": "kmeans", "k": 2, "layer": "0"}
    return {"model": "blobs", "layer": "1", "dataset": "blobs", "methods": ["gradient_x_delta"], "clusters": clusters}


def test_kmeans_when_requested_then_the_result_has_the_rows_of_each_cluster(client: Client, http: httpx.Client, job: Json) -> None:
    id = http.post("/v1/jobs", json=job).raise_for_status().json()["id"]
    result = client.jobs.get(id).wait().summary()
    arrays = load(http.get(f"/v1/jobs/{id}/result", headers={"Accept": "application/vnd.safetensors"}).content)

    assert [(cluster.name, cluster.examples) for cluster in result.clusters] == [("0", 30), ("1", 20)]
    assert arrays["rows/0"].tolist() == [row for row in range(50) if row % 5 < 3]
    assert arrays["rows/1"].tolist() == [row for row in range(50) if row % 5 >= 3]
    assert list(result.rankings[0].clusters) == ["0", "1"]


@pytest.mark.parametrize(
    ("wrong", "code", "pointer"),
    [
        ({"layer": "fc1"}, "layer_not_found", "/clusters/layer"),
        ({"k": 51}, "too_few_examples", "/clusters/k"),
        ({"k": 0}, "invalid_request", "/clusters/k"),
    ],
)
def test_kmeans_when_impossible_then_is_rejected_at_once(
    http: httpx.Client, job: Json, wrong: Json, code: str, pointer: str
) -> None:
    answer = http.post("/v1/jobs", json=job | {"clusters": job["clusters"] | wrong})

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["pointer"] == pointer
