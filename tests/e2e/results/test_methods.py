"""Over HTTP: every method of the catalogue, on a convolutional network."""

from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from safetensors.numpy import load
from torch import nn

from tests.e2e.conftest import save
from unitrank.client.sync import Client
from unitrank_schemas.jobs import JobRequest

OPTIONS = [
    {"name": "gradient", "id": "smooth", "noise": {"samples": 4, "level": 0.2}},
    {"name": "gradient", "id": "smooth-squared", "noise": {"samples": 4}, "statistic": "rms"},
    {"name": "conductance", "id": "enough", "steps": 4, "tolerance": 0.01},
    {"name": "conductance", "id": "rounded", "precision": "bf16"},
    {"name": "integrated_gradients", "id": "line", "rule": "left", "steps": 5},
]
BY_OPTION = [
    {"name": "deeplift", "id": "rescale", "rules": "rescale"},
    {"name": "deeplift", "id": "cancel", "rules": "reveal_cancel"},
    {"name": "exact_ablation", "id": "resampled", "fill": "resample"},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("methods")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.Linear(8, 3))
    save(net.eval(), folder / "net.pt2", torch.zeros(2, 3, 8, 8))
    random = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=random.normal(size=(40, 3, 8, 8)).astype(np.float32), y=random.integers(3, size=40))
    return folder


def test_methods_when_all_are_requested_then_each_is_finite_and_complete_if_its_card_is(
    client: Client, http: httpx.Client, data: Path
) -> None:
    client.models.put("every", data / "net.pt2")
    client.datasets.put("every", data / "data.npz")
    cards = {card["name"]: card for card in http.get("/v1/methods").json()["items"]}
    # Given scores have a test of their own.
    del cards["given"]
    methods = [*cards, *OPTIONS, *BY_OPTION]
    request = JobRequest.model_validate(
        {"model": "every", "layer": "1", "dataset": "every", "methods": methods, "target": {"class": "label"}, "keep_examples": 2}
    )

    job = client.jobs.submit(request).wait()
    result = job.summary()
    arrays = load(http.get(f"/v1/jobs/{job.id}/result", headers={"Accept": "application/vnd.safetensors"}).content)

    assert len(result.rankings) == len(methods)
    for ranking in result.rankings:
        assert np.isfinite(arrays[f"importance/{ranking.id}"]).all(), ranking.id
        gap = ranking.clusters["all"].completeness.relative_gap
        assert (gap is not None) == cards[ranking.method["name"]]["complete"], ranking.id
        if gap is not None and ranking.id not in ("rounded", "line"):
            assert gap <= (1e-5 if ranking.method["name"] == "deeplift" else 0.02), ranking.id
    assert arrays["examples/line/all"].shape == (2, 4, 6, 6)
