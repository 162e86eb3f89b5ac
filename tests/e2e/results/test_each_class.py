"""Over HTTP: every class in one job. The ids of its rankings hold an `@`."""

from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import save
from unitrank.client.sync import Client


@pytest.mark.check
def test_each_when_requested_then_arrays_csv_plots_and_pages_take_the_ids(
    client: Client, http: httpx.Client, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    client.models.put("classes", save(net, tmp_path / "net.pt2", torch.zeros(2, 1, 6, 6)))
    x = np.random.default_rng(0).normal(size=(30, 1, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    client.datasets.put("classes", tmp_path / "data.npz")
    request = {
        "model": "classes",
        "dataset": "classes",
        "layer": "1",
        "methods": ["grad_cam", "gradient"],
        "target": {"class": "each"},
    }

    id = http.post("/v1/jobs", json=request | {"ablation": {"random": 19}}).raise_for_status().json()["id"]

    result = client.jobs.get(id).wait().result()
    assert list(result.rankings) == [f"{name}@{number}" for name in ("grad_cam", "gradient") for number in range(3)]
    assert result.importances("gradient@2")["all"].shape == (4, 4, 4)
    path = f"/v1/jobs/{id}"
    csv = http.get(f"{path}/result", params={"ranking": "gradient@2"}, headers={"Accept": "text/csv"}).raise_for_status().text
    assert csv.splitlines()[1].startswith("all,gradient@2,1,")
    for picture in ("heatmap", "importance", "ablation"):
        answer = http.get(f"{path}/plots/{picture}.png", params={"ranking": "grad_cam@1"}).raise_for_status()
        assert answer.headers["content-type"] == "image/png"
    assert "gradient@2" in http.get(f"{path}/report").raise_for_status().text
    page = http.get(f"/jobs/{id}", params={"tab": "units", "ranking": "gradient@2"}, headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "gradient@2" in page.text


@pytest.mark.check
def test_each_when_the_model_has_one_value_then_is_rejected_at_once(client: Client, http: httpx.Client, tmp_path: Path) -> None:
    client.models.put("value", save(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), tmp_path / "net.pt2", torch.zeros(2, 3)))
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 3), np.float32))
    client.datasets.put("value", tmp_path / "data.npz")
    request = {"model": "value", "dataset": "value", "layer": "0", "methods": ["gradient"], "target": {"class": "each"}}

    answer = http.post("/v1/jobs", json=request)

    assert (answer.status_code, answer.json()["code"]) == (422, "target_not_applicable")
    assert answer.json()["errors"][0]["pointer"] == "/target/class"
