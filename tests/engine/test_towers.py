"""Three towers over three features.

The second feature decides the label, so its units must lead every ranking.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program

METHODS: list[Any] = [{"name": "gradient", "statistic": "mean_abs"}, "conductance", "gradient_x_delta"]
TARGET: dict[str, Any] = {"target": {"class": "label", "score": "centered"}, "ablation": None, "fidelity": None}
"""Centred, because a change that raises both logits equally does not change the decision."""
IDS = ["gradient.mean_abs", "conductance", "gradient_x_delta"]


class Towers(nn.Module):
    """Each feature passes through four separate units; a last layer joins all twelve."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(1, 4), nn.ReLU()) for _ in range(3))
        self.joined, self.head = nn.Flatten(), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        towers = [tower(x[:, index : index + 1]) for index, tower in enumerate(self.towers)]
        return self.head(self.joined(torch.stack(towers, 1)))


def data(count: int, seed: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return {"x": x, "y": (x[:, 1] > 0).astype(np.int64)}


@pytest.fixture(scope="module")
def trained() -> Program:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Towers()
    x, y = (torch.from_numpy(values) for values in data(512, 0).values())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02, weight_decay=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return program_of(network, x[:2])


@pytest.mark.parametrize("side", ["pre-activation", "post-activation"])
def test_the_deciding_towers_units_have_the_largest_importance(side: str, trained: Program, tmp_path: Path) -> None:
    layer = {"pre-activation": 0, "post-activation": 1}[side]

    totals = [importance(trained, tmp_path, f"towers.{tower}.{layer}", "all") for tower in range(3)]

    for method in IDS:
        first, second, third = (total[method][0] for total in totals)
        assert second > 1.3 * max(first, third)


@pytest.mark.parametrize("clusters", ["all", "label"])
def test_the_change_from_the_baseline_is_the_deciding_towers_in_every_cluster(
    clusters: str, trained: Program, tmp_path: Path
) -> None:
    """A slope alone does not show how far a unit moves; the slope times the change does."""
    totals = [importance(trained, tmp_path, f"towers.{tower}.0", clusters) for tower in range(3)]

    for method in ("conductance", "gradient_x_delta"):
        first, second, third = (total[method] for total in totals)
        assert (second > 3 * first).all()
        assert (second > 3 * third).all()


def importance(program: Program, folder: Path, layer: str, clusters: str) -> dict[str, np.ndarray]:
    """Method → the summed importance of a layer's units, one number a cluster."""
    _, arrays = rank(program, folder, data(300, 1), layer, METHODS, clusters={"by": clusters}, **TARGET)
    return {method: np.abs(arrays[f"importance/{method}"]).sum(1) for method in IDS}


def test_in_one_layer_of_all_towers_its_units_lead_and_the_rankings_are_better_than_random(
    trained: Program, tmp_path: Path
) -> None:
    summary, _ = rank(trained, tmp_path, data(300, 1), "joined", METHODS, clusters={"by": "label"})

    for ranking in summary["rankings"]:
        assert ranking["overall"]["verdict"] == "better_than_random"
        for cluster in ranking["clusters"].values():
            assert 4 <= cluster["top"][0]["unit"] < 8


def test_shuffled_rows_and_small_batches_give_the_same_importance(
    trained: Program, tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    """The first rows all have one label, so that a first batch alone would mislead."""
    fields = data(300, 1)
    order = np.argsort(fields["y"], kind="stable")
    _, whole = rank(trained, tmp_path, fields, "joined", METHODS, ablation=None, fidelity=None)

    limit_rows(32)
    _, parts = rank(
        trained, tmp_path, {name: values[order] for name, values in fields.items()}, "joined", METHODS, ablation=None, fidelity=None
    )

    for method in IDS:
        np.testing.assert_allclose(parts[f"importance/{method}"], whole[f"importance/{method}"], rtol=1e-4, atol=1e-6)
