"""The summary: a ranking's fields, and the leaderboard's order."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tests.engine.ablation.nets import Weighted
from tests.engine.ablation.plain import prepared
from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program
from unitrank_engine.result.leaderboard import leaderboard
from unitrank_schemas import results as schema


class Squared(nn.Module):
    """Two classes with ±(w·relu(x))² + b."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.out = nn.Linear(2, 1, bias=False, dtype=torch.float64)
        self.out.weight.data = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        square = self.out(self.act(x)) ** 2
        return torch.cat([square, -square], 1) + self.bias


class Around(nn.Module):
    """A skip connection around `act`, so that `act` is not a cut."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.act(x)).sum(1, keepdim=True)


@cache
def squared(bias: float = 0.0) -> Program:
    return program_of(Squared(bias), torch.ones(2, 2, dtype=torch.float64))


@cache
def weighted(units: int) -> Program:
    return program_of(Weighted([float(unit + 1) for unit in range(units)]), torch.ones(2, units, dtype=torch.float64))


def one(summary: dict[str, Any], cluster: str = "all", ranking: int = 0) -> dict[str, Any]:
    cluster_entry: dict[str, Any] = summary["rankings"][ranking]["clusters"][cluster]
    return cluster_entry


def job(program: Program, folder: Path, fields: dict[str, np.ndarray], methods: list[Any], **request: Any) -> dict[str, Any]:
    return rank(program, folder, fields, "act", methods, **{"ablation": None, "fidelity": None, **request})[0]


PAIRS = np.array([[1.0, 1.0], [3.0, 0.0], [1.0, 0.5], [0.0, 1.0]])  # w·h is 3, 3, 2, 2


@pytest.mark.parametrize(("rule", "gap"), [("right", 1.0), ("left", 1.0), ("trapezoid", 0.0)])
@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "rms"])
def test_completeness_when_one_step_is_taken_then_each_example_has_its_own_gap(
    rule: str, gap: float, statistic: str, tmp_path: Path
) -> None:
    # On one step, the right end gives 2·F, the left end 0, and both ends F. Examples of both signs
    # must not cancel.
    method = {"name": "conductance", "steps": 1, "rule": rule, "spacing": "uniform", "statistic": statistic}
    mixed = one(job(squared(), tmp_path, {"x": PAIRS, "y": np.array([0, 1, 0, 1])}, [method]))["completeness"]
    same = one(job(squared(), tmp_path, {"x": PAIRS, "y": np.array([0, 0, 0, 0])}, [method]))["completeness"]
    factor = {"right": 2.0, "left": 0.0, "trapezoid": 1.0}[rule]

    assert same == {"sum": pytest.approx(factor * 6.5), "expected": 6.5, "relative_gap": pytest.approx(gap)}
    assert mixed == {"sum": pytest.approx(0.0), "expected": 0.0, "relative_gap": pytest.approx(gap)}


def test_completeness_when_examples_differ_then_sums_of_sizes_are_compared(tmp_path: Path) -> None:
    # The gaps are 9, 9, 4, 4, and one example equals its baseline.
    fields = {"x": np.vstack([PAIRS, [[-1.0, -1.0]]])}
    method = {"name": "conductance", "steps": 2, "rule": "right", "spacing": "uniform"}
    completeness = one(job(squared(), tmp_path, fields, [method], target={"class": 0}))["completeness"]

    # Two steps, to ½ and 1: (2·½ + 2·1)·½ = 1.5 times F.
    assert completeness == {"sum": pytest.approx(1.5 * 26 / 5), "expected": 26 / 5, "relative_gap": pytest.approx(0.5)}


def test_completeness_when_the_method_is_not_complete_then_the_gap_is_null(tmp_path: Path) -> None:
    summary = job(squared(), tmp_path, {"x": PAIRS}, ["gradient_x_delta", "conductance"], target={"class": 0})

    assert one(summary)["completeness"] == {"sum": 13.0, "expected": 6.5, "relative_gap": None}
    assert one(summary, ranking=1)["completeness"]["relative_gap"] == pytest.approx(0.0, abs=1e-2)


def test_completeness_when_the_place_is_not_a_cut_then_the_gap_is_null(tmp_path: Path) -> None:
    program = program_of(Around(), torch.ones(2, 2, dtype=torch.float64))
    summary = job(program, tmp_path, {"x": PAIRS}, ["conductance"], target={"class": None})

    assert summary["layer"]["cut"] is False
    assert one(summary)["completeness"]["relative_gap"] is None
    # Half of F goes around the layer.
    assert one(summary)["completeness"]["expected"] == pytest.approx(2 * one(summary)["completeness"]["sum"])


@pytest.mark.parametrize(("bias", "is_measurable"), [(3e6, True), (4e6, False)])
def test_completeness_when_the_target_hardly_changes_then_the_gap_is_null(bias: float, is_measurable: bool, tmp_path: Path) -> None:
    # Σ|ΔF| = 26 against 1e-6 · Σ(|F| + |F′|) = 8e-6 · bias, which is 24 or 32
    summary = job(squared(bias), tmp_path, {"x": PAIRS}, ["conductance"], target={"class": 0})

    assert (one(summary)["completeness"]["relative_gap"] is not None) is is_measurable


def test_completeness_when_nothing_changes_then_the_gap_is_null(tmp_path: Path) -> None:
    cluster_entry = one(job(squared(), tmp_path, {"x": -PAIRS}, ["conductance"], target={"class": 0}))

    assert cluster_entry["completeness"] == {"sum": 0.0, "expected": 0.0, "relative_gap": None}


def test_top_when_units_are_many_then_the_twenty_best_are_listed_in_order(tmp_path: Path) -> None:
    x = np.array([[1.0] * 25, [3.0] * 25])
    top = one(job(weighted(25), tmp_path, {"x": x}, ["gradient_x_activation"], target={"class": None}))["top"]

    # unit u has the shares u + 1 and 3(u + 1): mean 2(u + 1), deviation √2 (u + 1)
    assert [entry["unit"] for entry in top] == list(range(24, 4, -1))
    assert top[0] | {"unit": 24, "index": [24], "importance": 50.0, "spread": pytest.approx(25 * 2**0.5)} == top[0]


def test_top_when_units_are_equal_then_the_lower_number_comes_first(tmp_path: Path) -> None:
    """The arrays have the same order; units are equal if their float32 values are."""
    summary = job(weighted(6), tmp_path, {"x": np.ones((4, 6), dtype=np.float32)}, ["activation"])

    assert [unit["unit"] for unit in one(summary)["top"]] == list(range(6))


def test_top_when_a_cluster_has_one_example_then_spreads_are_null(tmp_path: Path) -> None:
    cluster_entry = one(job(weighted(3), tmp_path, {"x": np.ones((1, 3))}, ["gradient_x_activation"], target={"class": None}))

    assert [entry["spread"] for entry in cluster_entry["top"]] == [None, None, None]
    assert (cluster_entry["stability"], cluster_entry["cancellation"]) == (None, None)


def test_top_when_units_lie_in_space_then_they_are_counted_row_major(tmp_path: Path) -> None:
    net = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(24, 1))
    program = program_of(net, torch.ones(2, 2, 3, 4))
    x = np.zeros((1, 2, 3, 4), dtype=np.float32)
    x[0, 1, 2, 3], x[0, 1, 0, 2], x[0, 0, 1, 0] = 9, 8, 7
    request: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": None}}
    units, _ = rank(program, tmp_path, {"x": x}, "0", ["activation"], **request)
    channels, arrays = rank(program, tmp_path, {"x": x}, "0", ["activation"], units="channel", **request)

    assert units["layer"] == units["layer"] | {"shape": [2, 3, 4], "count": 24}
    assert [(entry["unit"], entry["index"]) for entry in one(units)["top"][:3]] == [
        (23, [1, 2, 3]),
        (14, [1, 0, 2]),
        (4, [0, 1, 0]),
    ]
    assert channels["layer"] == channels["layer"] | {"shape": [2], "count": 2}
    assert arrays["importance/activation"].tolist() == [[7.0, 17.0]]


@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "rms"])
@pytest.mark.parametrize("split", ["half", "none", "group"])
def test_stability_when_each_half_is_ranked_then_is_the_correlation_of_both_rankings(
    split: str, statistic: str, tmp_path: Path
) -> None:
    fields = {"x": np.random.default_rng(0).standard_normal((21, 12)), "group": np.arange(21) // 2}
    request: dict[str, Any] = {"ablation": {"split": split, "random": 0}, "target": {"class": None}}
    method = {"name": "gradient_x_activation", "statistic": statistic}
    summary = job(weighted(12), tmp_path, fields, [method], **request)
    sides = prepared(weighted(12), tmp_path, fields, layer="act", **request).halves[0].sides
    reduce = {"mean": lambda s: s.mean(0), "mean_abs": lambda s: abs(s).mean(0), "rms": lambda s: (s**2).mean(0)}[statistic]
    scores = np.maximum(fields["x"], 0) * np.arange(1, 13)

    expected = stats.spearmanr(reduce(scores[sides == 0]), reduce(scores[sides == 1])).statistic
    assert one(summary)["stability"] == pytest.approx(expected)


def test_importance_when_half_of_a_cluster_ranks_then_the_result_is_of_all_examples(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((9, 4))
    method = "gradient_x_activation"
    whole, half = (
        rank(weighted(4), tmp_path, {"x": x}, "act", [method], fidelity=None, ablation=ablation, target={"class": None})[1]
        for ablation in (None, {"split": "half", "random": 0})
    )

    np.testing.assert_allclose(whole[f"importance/{method}"][0], x.mean(0) * [1, 2, 3, 4], rtol=1e-6)
    assert np.array_equal(whole[f"importance/{method}"], half[f"importance/{method}"])
    assert np.array_equal(whole[f"spread/{method}"], half[f"spread/{method}"])


def test_cluster_when_it_is_described_then_score_and_accuracy_are_of_all_its_examples(tmp_path: Path) -> None:
    fields = {"x": PAIRS, "y": np.array([0, 0, 0, 1])}
    summary = job(squared(), tmp_path, fields, ["activation"], clusters={"by": "members", "members": {"a": [0, 3], "b": [2]}})

    assert summary["clusters"][0] == {
        "name": "a", "examples": 2, "ranked_on": 2, "tested_on": 0, "accuracy": 0.5, "score": 2.5,
    }  # fmt: skip
    assert summary["clusters"][1]["score"] == 4.0


def ranking(
    name: str, verdict: schema.Verdict, areas: list[float | None], mae: float | None = None, area: float | None = None
) -> schema.Ranking:
    """A ranking with one cluster for each of `areas`, and the area over all clusters."""
    clusters = {
        str(index): schema.ClusterRanking(
            top=[],
            ablation=schema.AblationResult(
                counts=[1], fractions=[0.1], most=schema.Curve(score=[0.0], area=each), verdict=verdict if index else "undecided"
            ),
        )
        for index, each in enumerate(areas)
    }
    fidelity = None if mae is None else schema.FidelityResult(mae=mae, mae_of_zero=1.0, bias=0.0)
    overall = schema.Overall(verdict=verdict, area=area)
    return schema.Ranking(id=name, method={}, clusters=clusters, overall=overall, fidelity=fidelity, seconds=0.0)


def test_leaderboard_when_rankings_differ_then_verdict_area_error_and_request_decide_in_turn() -> None:
    # The area over all clusters decides, and not the mean of the clusters' areas.
    ranked = leaderboard(
        [
            ranking("worse", "worse_than_random", [0.9, 0.9], 0.1, 0.9),
            ranking("large error", "better_than_random", [0.25, 0.5], 9.0, 0.375),
            ranking("no area", "better_than_random", [None, None], 0.1),
            ranking("first of equals", "better_than_random", [0.375, 0.375], 2.0, 0.375),
            ranking("second of equals", "better_than_random", [0.375, 0.375], 2.0, 0.375),
            ranking("no error", "better_than_random", [0.375, 0.375], None, 0.375),
            ranking("largest where known", "better_than_random", [None, 0.5], 5.0, 0.5),
            ranking("largest in the mean", "better_than_random", [0.1, 0.99], 0.1, 0.3),
            ranking("undecided", "undecided", [0.95, 0.95], 0.0, 0.95),
        ],
        [],
    )

    assert [leader.ranking for leader in ranked] == [
        "largest where known", "first of equals", "second of equals", "large error", "no error", "largest in the mean", "no area",
        "undecided", "worse",
    ]  # fmt: skip
    first, last = ranked[0], ranked[-1]
    assert (first.area, first.mean_area, first.better_than_random, first.of, first.mae) == (0.5, 0.5, 1, 2, 5.0)
    assert (last.verdict, last.mean_area, last.better_than_random) == ("worse_than_random", pytest.approx(0.9), 0)
    assert (ranked[6].area, ranked[6].mean_area) == (None, None)


def test_leaderboard_when_nothing_was_tested_then_the_error_decides() -> None:
    tested = [ranking("b", "undecided", [], 2.0), ranking("a", "undecided", [], 1.0)]
    ranked = leaderboard([each.model_copy(update={"overall": None}) for each in tested], [])

    assert [(leader.ranking, leader.verdict, leader.of) for leader in ranked] == [("a", None, 0), ("b", None, 0)]
