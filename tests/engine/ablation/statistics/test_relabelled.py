"""Relabelled controls: exact p-values where all relabellings are known."""

from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.ablation.nets import Dense
from tests.engine.in_process import program_of, rank
from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.program import Program

ALL = [np.array(units, dtype=np.int32) for units in permutations(range(4))]
"""All relabellings of four units; the first one changes nothing."""
CLUSTERS = ["a", "b"]
BASES = {"one order": ([2, 0, 3, 1], [2, 0, 3, 1]), "an order in each cluster": ([2, 0, 3, 1], [1, 2, 0, 3])}
"""For each cluster the position of each unit."""


@pytest.fixture
def relabel(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[np.ndarray]], None]:
    """Replace the random permutations by these."""

    def replace(sigmas: list[np.ndarray]) -> None:
        monkeypatch.setattr(Orders, "random", lambda self, number: sigmas[number])

    return replace


def given(name: str, positions: dict[str, np.ndarray]) -> dict[str, Any]:
    """Scores that give each unit this position in the order `most`."""
    importance = {cluster: (-each).tolist() for cluster, each in positions.items()}
    return {"name": "given", "id": name, "importance": importance, "made_on": "none"}


@cache
def dense() -> Program:
    return program_of(Dense(), torch.ones(2, 5, dtype=torch.float64))


def nonlinear(
    folder: Path, methods: list[Any], members: dict[str, list[int]], random: int, **ablation: Any
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The rankings of a job on a net with four units, whose drops are all different."""
    x = np.random.default_rng(7).standard_normal((10, 5))
    options = {"fractions": [0.25, 0.5, 0.75], "random": random, "check_fill": None, "split": "none", **ablation}
    summary, arrays = rank(
        dense(), folder, {"x": x}, "act", methods,
        clusters={"by": "members", "members": members}, target={"class": 1}, fidelity=None, ablation=options,
    )  # fmt: skip
    return summary["rankings"], arrays


@pytest.mark.parametrize("base", BASES)
def test_overall_when_all_relabellings_are_controls_then_p_is_uniform_over_the_relabelled_rankings(
    base: str, tmp_path: Path, relabel: Callable[[list[np.ndarray]], None]
) -> None:
    # A ranking and its controls are the 24 relabellings, for each of the 24 rankings.
    relabel(ALL[1:])
    positions = dict(zip(CLUSTERS, np.array(BASES[base]), strict=True))
    methods = [given(f"r{number}", {name: each[sigma] for name, each in positions.items()}) for number, sigma in enumerate(ALL)]
    rankings, arrays = nonlinear(tmp_path, methods, {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7, 8]}, 23)

    curves = np.stack([arrays[f"ablation/r{number}/most"] for number in range(24)]).astype(np.float64)
    drops = (curves[:, :, :1] - curves[:, :, 1:]).mean(2)
    sums = ((drops - drops.mean(0)) / drops.std(0)).sum(1)
    assert len(np.unique(sums.round(4))) == 24
    overall = [ranking["overall"] for ranking in rankings]
    assert [each["p_value"] for each in overall] == [(sums >= own).sum() / 24 for own in sums]
    assert [each["p_worse"] for each in overall] == [(sums <= own).sum() / 24 for own in sums]
    assert sorted(each["p_value"] for each in overall) == [count / 24 for count in range(1, 25)]
    # All 24 rankings have the same 24 values, so that only the correction for 24 rankings differs.
    assert all(each["p_family"] >= each["p_value"] for each in overall)


def test_cluster_when_all_orders_are_controls_then_p_is_uniform_over_the_rankings(
    tmp_path: Path, relabel: Callable[[list[np.ndarray]], None]
) -> None:
    # The ranking's own order is one of the 24 random orders, so that the smallest p is 2/25.
    relabel(ALL)
    methods = [given(f"r{number}", {"a": order}) for number, order in enumerate(ALL)]
    rankings, _ = nonlinear(tmp_path, methods, {"a": [0, 1, 2, 3]}, 24)
    studies = [ranking["clusters"]["a"]["ablation"] for ranking in rankings]

    for p_values in (
        [study["p_value"] for study in studies],
        [study["p_worse"] for study in studies],
        [study["keep"]["p_value"] for study in studies],
    ):
        assert sorted(p_values) == [count / 25 for count in range(2, 26)]
    # The scores are 0, −1, −2 and −3, so that the order by |importance| is the same. Small drops
    # are good.
    assert [study["least"]["p_value"] for study in studies] == [study["p_worse"] for study in studies]


class Wide(nn.Module):
    """Has enough units that masks of one order share their work, in float32."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.act, self.hidden, self.out = nn.Linear(6, 512), nn.ReLU(), nn.Linear(512, 64), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.hidden(self.act(self.fc(x))).relu())
        return out


@pytest.mark.parametrize("nested", [False, True], ids=["one by one", "nested"])
def test_control_when_the_relabelling_changes_nothing_then_it_ties_with_the_ranking_to_the_bit(
    nested: bool, tmp_path: Path, relabel: Callable[[list[np.ndarray]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_engine.ablation.masks.nested.MIN_ELEMENTS", 0 if nested else 10**9)
    rng = np.random.default_rng(0)
    identity = np.arange(512, dtype=np.int32)
    # Controls that differ stand between, so that passes and batches cut the orders at other places.
    relabel([identity if number % 3 == 1 else rng.permutation(512).astype(np.int32) for number in range(20)])
    fields = {"x": rng.standard_normal((60, 6)).astype(np.float32), "y": np.arange(60) % 3}
    summary, _ = rank(
        program_of(Wide(), torch.ones(2, 6)), tmp_path, fields, "act", ["gradient_x_activation", "random"],
        clusters={"by": "label"}, fidelity=None, ablation={"random": 20, "check_fill": None},
    )  # fmt: skip

    for ranking in summary["rankings"]:
        overall = ranking["overall"]
        # Each control counts on one side. The ranking and the seven controls that tie count on
        # both.
        assert overall["p_value"] + overall["p_worse"] == pytest.approx((21 + 1 + 7) / 21)
