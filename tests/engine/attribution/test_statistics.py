"""Importance, spread, cancellation and stability equal numpy's on the scores of single examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.program import Program

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(41, 6)) + RANDOM.normal(size=6)
MEMBERS = {"all": list(range(41)), "some": [3, 1, 4, 15, 9, 26, 5], "pair": [35, 8], "one": [40]}
STATISTICS = ["mean", "mean_abs", "rms"]
SPREADS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda s: s.std(0, ddof=1),
    "mean_abs": lambda s: np.abs(s).std(0, ddof=1),
    "rms": lambda s: (s**2).std(0, ddof=1) / (2 * np.sqrt((s**2).mean(0))),
}
IMPORTANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda s: s.mean(0),
    "mean_abs": lambda s: np.abs(s).mean(0),
    "rms": lambda s: np.sqrt((s**2).mean(0)),
}


class Itself(nn.Module):
    """Class 0 is x₀² minus the other inputs, so the gradient at the inputs is (2x₀, −1, …)."""

    def forward(self, x: Tensor) -> Tensor:
        first = x[:, :1] ** 2 - x[:, 1:].sum(1, keepdim=True)
        return torch.cat([first, torch.zeros_like(first)], 1)


@pytest.fixture(scope="module")
def itself() -> Program:
    return program_of(Itself(), torch.randn(2, 6, dtype=torch.float64))


def job(
    program: Program, folder: Path, x: np.ndarray, methods: list[Any], **request: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    settings = {"ablation": None, "fidelity": None, "target": {"class": 0}}
    return rank(program, folder, {"x": x}, "input", methods, **(settings | request))


@pytest.mark.parametrize("rows_at_once", [5, 512])
def test_importance_and_spread_equal_numpy_on_each_clusters_scores(
    rows_at_once: int, itself: Program, tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(rows_at_once)
    methods = [{"name": "activation", "statistic": statistic, "id": statistic} for statistic in STATISTICS]

    _, arrays = job(itself, tmp_path, X, methods, clusters={"by": "members", "members": MEMBERS})

    for index, rows in enumerate(MEMBERS.values()):
        for statistic in STATISTICS:
            np.testing.assert_allclose(arrays[f"importance/{statistic}"][index], IMPORTANCES[statistic](X[rows]), rtol=1e-6)
            if len(rows) > 1:
                np.testing.assert_allclose(arrays[f"spread/{statistic}"][index], SPREADS[statistic](X[rows]), rtol=1e-6)
            else:
                assert np.isnan(arrays[f"spread/{statistic}"][index]).all()


def test_cancellation_equals_its_formula_and_is_null_for_one_example(itself: Program, tmp_path: Path) -> None:
    summary, _ = job(itself, tmp_path, X, ["activation"], clusters={"by": "members", "members": MEMBERS})

    for name, rows in MEMBERS.items():
        s = X[rows]
        expected = 1 - np.abs(s.mean(0)).sum() / np.abs(s).mean(0).sum()
        got = summary["rankings"][0]["clusters"][name]["cancellation"]
        assert got == (None if len(rows) == 1 else pytest.approx(expected, rel=1e-9))


def test_stability_is_the_rank_correlation_of_the_two_halves(itself: Program, tmp_path: Path) -> None:
    """Two examples have one in each half; equal examples give equal halves."""
    members = {"pair": MEMBERS["pair"], "one": MEMBERS["one"]}
    summary, _ = job(itself, tmp_path, X, ["activation"], clusters={"by": "members", "members": members})
    equal, _ = job(itself, tmp_path, np.tile(np.arange(6.0), (8, 1)), ["activation"])

    clusters = summary["rankings"][0]["clusters"]
    assert clusters["pair"]["stability"] == pytest.approx(stats.spearmanr(X[35], X[8]).statistic)
    assert clusters["one"]["stability"] is None
    assert equal["rankings"][0]["clusters"]["all"]["stability"] == pytest.approx(1.0)


def test_top_holds_the_twenty_highest_with_index_importance_and_spread(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(9, 3, 4, 5)).astype(np.float32)
    program = program_of(nn.Sequential(nn.Flatten(), nn.Linear(60, 2)), torch.randn(2, 3, 4, 5))

    summary, arrays = job(program, tmp_path, x, ["activation"])

    top = summary["rankings"][0]["clusters"]["all"]["top"]
    order = np.argsort(-x.astype(float).mean(0).ravel())[:20]
    assert [unit["unit"] for unit in top] == order.tolist()
    for unit in top:
        index = np.unravel_index(unit["unit"], (3, 4, 5))
        assert unit["index"] == list(index)
        assert unit["importance"] == pytest.approx(x[(slice(None), *index)].astype(float).mean(), rel=1e-6)
        assert unit["spread"] == pytest.approx(x[(slice(None), *index)].astype(float).std(ddof=1), rel=1e-6)
    assert arrays["importance/activation"].shape == (1, 60)


def test_kept_examples_are_the_first_rows_of_each_cluster(itself: Program, tmp_path: Path) -> None:
    _, arrays = job(
        itself, tmp_path, X, ["activation", "gradient"], clusters={"by": "members", "members": MEMBERS}, keep_examples=3
    )

    for name, rows in MEMBERS.items():
        first = sorted(rows)[:3]
        gradient = -np.ones((len(first), 6))
        gradient[:, 0] = 2 * X[first, 0]
        np.testing.assert_array_equal(arrays[f"rows/{name}"], sorted(rows))
        np.testing.assert_allclose(arrays[f"examples/activation/{name}"], X[first], rtol=1e-6)
        np.testing.assert_allclose(arrays[f"examples/gradient/{name}"], gradient, rtol=1e-6)


def test_the_whole_cluster_counts_and_not_only_its_first_batch(
    itself: Program, tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    """The first batch's gradient has the opposite sign of all later ones."""
    limit_rows(8)
    x = np.zeros((100, 6))
    x[:8, 0], x[8:, 0] = -10.0, 1.0

    _, arrays = job(itself, tmp_path, x, ["gradient", {"name": "gradient", "statistic": "mean_abs"}])

    assert arrays["importance/gradient"][0, 0] == pytest.approx((8 * -20 + 92 * 2) / 100)
    assert arrays["importance/gradient.mean_abs"][0, 0] == pytest.approx((8 * 20 + 92 * 2) / 100)


def test_the_order_of_rows_does_not_matter(itself: Program, tmp_path: Path, limit_rows: Callable[[int], None]) -> None:
    limit_rows(8)
    methods = ["gradient", {"name": "gradient", "statistic": "rms"}, "conductance", "gradient_x_delta"]
    _, straight = job(itself, tmp_path, X, methods, baseline={"kind": "mean"})

    _, shuffled = job(itself, tmp_path, X[RANDOM.permutation(41)], methods, baseline={"kind": "mean"})

    for key in straight:
        if not key.startswith(("rows", "unit_examples")):
            np.testing.assert_allclose(shuffled[key], straight[key], rtol=1e-6, atol=1e-9)


def test_sums_when_examples_are_in_many_clusters_then_each_half_sums_its_own() -> None:
    scores = torch.tensor([[1.0, -2.0], [3.0, 5.0], [-4.0, 0.5]])
    sums = Sums(clusters=2, units=2, device=torch.device("cpu"))

    clusters, sides, examples = [1, 0, 1, 0, 0, 1], [1, 0, 1, 0, 1, 1], [0, 0, 1, 2, 2, 2]
    sums.add(clusters=np.array(clusters), sides=np.array(sides), examples=np.array(examples), scores=scores)
    sums.add(clusters=np.array([0]), sides=np.array([1]), examples=np.array([0]), scores=scores)

    halves = [sums.of_cluster(cluster, side) for cluster in (0, 1) for side in (0, 1)]
    assert [half.m for half in halves] == [2, 2, 0, 3]
    assert [half.s.tolist() for half in halves] == [[-3.0, -1.5], [-3.0, -1.5], [0.0, 0.0], [0.0, 3.5]]
    assert sums.of_cluster(0).squares.tolist() == [34.0, 8.5]
