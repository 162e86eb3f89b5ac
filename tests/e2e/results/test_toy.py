"""Over HTTP: a network with a tower for each of three features; the second decides the label."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import save
from unitrank.client.sync import Client
from unitrank_schemas.jobs import JobRequest

METHODS = [{"name": "gradient", "statistic": "mean_abs"}, "conductance", "gradient_x_delta"]


class Towers(nn.Module):
    """A `Linear(1, 4)` and a ReLU for each of three features.

    `before` has the pre-activations of all towers, side by side.
    """

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.Linear(1, 4) for _ in range(3))
        self.before, self.relu, self.head = nn.Identity(), nn.ReLU(), nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        towers = [tower(x[:, index : index + 1]) for index, tower in enumerate(self.towers)]
        out: torch.Tensor = self.head(self.relu(torch.cat(towers, 1)))
        return out


def trained(x: torch.Tensor, y: torch.Tensor) -> Towers:
    torch.manual_seed(0)
    net = Towers()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(600):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    y = (x[:, 1] > 0).astype(np.int64)
    np.savez(folder / "toy.npz", x=x, y=y)
    save(trained(torch.from_numpy(x), torch.from_numpy(y)), folder / "toy.pt2", torch.zeros(2, 3))
    return folder


@pytest.mark.parametrize("method", range(len(METHODS)))
def test_toy_when_the_label_is_decided_by_the_second_feature_then_its_tower_ranks_first(
    client: Client, data: Path, method: int
) -> None:
    """At the ReLU's input the units are the pre-activations of three towers, four units each."""
    client.models.put("toy", data / "toy.pt2")
    client.datasets.put("toy", data / "toy.npz")
    request = JobRequest.model_validate(
        {"model": "toy", "layer": "relu", "at": "input", "dataset": "toy", "methods": [METHODS[method]]}
    )

    result = client.jobs.submit(request).wait().summary()

    for name, ranking in result.rankings[0].clusters.items():
        of_tower = np.zeros(3)
        for unit in ranking.top:
            of_tower[unit.unit // 4] += abs(unit.importance)
        # `top` has all twelve units.
        assert of_tower.argmax() == 1, (name, of_tower)


@pytest.mark.parametrize("tower", range(3))
def test_toy_when_a_single_tower_is_named_then_its_own_units_are_ranked(client: Client, data: Path, tower: int) -> None:
    client.models.put("toy", data / "toy.pt2")
    client.datasets.put("toy", data / "toy.npz")
    request = JobRequest.model_validate(
        {"model": "toy", "layer": f"towers.{tower}", "dataset": "toy", "methods": METHODS, "ablation": None}
    )

    result = client.jobs.submit(request).wait().summary()

    assert result.layer.shape == [4]
    assert not result.layer.cut
