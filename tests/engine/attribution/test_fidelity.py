"""Fidelity compares the sum of some units' scores with the drop of F when they are replaced."""

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.engine.ablation.nets import Conv, Cut, Dense, Weighted
from tests.engine.ablation.plain import Plain, prepared
from tests.engine.in_process import program_of, rank
from unitrank_engine.attribution.fidelity import Drops, judge, largest
from unitrank_engine.attribution.statistics import spearman
from unitrank_engine.program import Program

COMPARED = ("against", "mann_whitney", "wilcoxon", "mean_difference")


def drops(predicted: list[float] | np.ndarray, actual: list[float] | np.ndarray) -> Drops:
    return Drops(np.asarray(predicted, dtype=float), np.asarray(actual, dtype=float))


def test_judge_when_drops_are_given_then_errors_equal_those_computed_by_hand() -> None:
    outcome = judge({"a": drops([1, 2, 3], [2, 2, -5])}, compare=True)["a"]

    # |−1| + 0 + 8; 2 + 2 + 5; −1 + 0 + 8; ranks 1 2 3 against 2.5 2.5 1
    assert (outcome.mae, outcome.mae_of_zero, outcome.bias) == (3.0, 3.0, pytest.approx(7 / 3))
    assert outcome.spearman == pytest.approx(stats.spearmanr([1, 2, 3], [2, 2, -5]).statistic)
    assert outcome.spearman == pytest.approx(-(3**0.5) / 2)
    assert [getattr(outcome, name) for name in COMPARED] == [None] * 4


def test_judge_when_there_are_other_rankings_then_that_with_the_lowest_error_is_the_rival() -> None:
    actual = [0.0, 0.0]
    all_three = {"worst": drops([5, 5], actual), "best": drops([1, 1], actual), "second": drops([-2, 2], actual)}
    outcome = judge(all_three, compare=True)

    assert {name: result.against for name, result in outcome.items()} == {
        "worst": "best",
        "best": "second",
        "second": "best",
    }


def test_judge_when_errors_are_paired_then_both_tests_are_scipys() -> None:
    rng = np.random.default_rng(0)
    actual = rng.normal(0, 100, 60)
    first, second = actual + rng.normal(0, 10, 60), actual + rng.normal(1, 12, 60)
    outcome = judge({"one": drops(first, actual), "two": drops(second, actual)}, compare=True)["one"]
    first_errors, second_errors = np.abs(first - actual), np.abs(second - actual)
    interval = stats.ttest_1samp(first_errors - second_errors, 0).confidence_interval(0.95)

    assert outcome.mann_whitney == pytest.approx(stats.mannwhitneyu(first_errors, second_errors, alternative="two-sided").pvalue)
    assert outcome.wilcoxon == pytest.approx(stats.wilcoxon(first_errors, second_errors).pvalue)
    assert outcome.mean_difference is not None
    assert outcome.mean_difference.value == pytest.approx(first_errors.mean() - second_errors.mean())
    assert (outcome.mean_difference.low, outcome.mean_difference.high) == pytest.approx((interval.low, interval.high))


def test_judge_when_a_small_difference_is_paired_then_only_wilcoxon_sees_it() -> None:
    # As in the paper's study: 3.5 of 458 is small against the variation of errors over images.
    rng = np.random.default_rng(0)
    actual = rng.normal(0, 400, 200)
    first, second = actual + rng.normal(458, 100, 200), actual.copy()
    second += (first - actual) - 3.5
    outcome = judge({"one": drops(first, actual), "two": drops(second, actual)}, compare=True)["one"]

    assert outcome.mann_whitney is not None
    assert outcome.mann_whitney > 0.3
    assert outcome.wilcoxon is not None
    assert outcome.wilcoxon < 1e-4
    assert outcome.mean_difference is not None
    assert outcome.mean_difference.value == pytest.approx(3.5)


@pytest.mark.parametrize("actual", [[3.0], [3.0, 3.0, 3.0], [1.0, 2.0]])
def test_judge_when_two_rankings_are_equal_then_no_test_finds_a_difference(actual: list[float]) -> None:
    outcome = judge({"a": drops([2.0] * len(actual), actual), "b": drops([2.0] * len(actual), actual)}, compare=True)["b"]

    assert (outcome.against, outcome.mann_whitney, outcome.wilcoxon) == ("a", 1.0, 1.0)
    assert outcome.mean_difference is not None
    assert (outcome.mean_difference.value, outcome.mean_difference.low, outcome.mean_difference.high) == (
        0,
        0,
        0,
    )


def test_judge_when_there_is_one_example_then_the_interval_has_width_zero_and_no_correlation() -> None:
    outcome = judge({"a": drops([1.0], [3.0]), "b": drops([2.0], [3.0])}, compare=True)["a"]

    assert (outcome.mae, outcome.spearman, outcome.mann_whitney, outcome.wilcoxon) == (
        2.0,
        None,
        1.0,
        1.0,
    )
    assert outcome.mean_difference is not None
    assert (outcome.mean_difference.low, outcome.mean_difference.high) == (1.0, 1.0)


def test_judge_when_not_compared_then_tests_are_null() -> None:
    outcome = judge({"a": drops([1, 2], [2, 2]), "b": drops([0, 0], [2, 2])}, compare=False)["a"]

    assert [getattr(outcome, name) for name in COMPARED] == [None] * 4


def test_spearman_when_one_side_is_constant_then_it_is_null() -> None:
    assert spearman(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])) is None
    assert spearman(np.array([1.0]), np.array([2.0])) is None
    assert spearman(np.array([1.0, 5.0, 9.0]), np.array([2.0, 3.0, 70.0])) == pytest.approx(1.0)


FOUR = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])


@cache
def weighted() -> Program:
    return program_of(Weighted([4.0, 3.0, -2.0, 1.0]), torch.ones(2, 4, dtype=torch.float64))


def fidelity(folder: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """The fidelity of three methods on F = 4a + 3b − 2c + d, by ranking."""
    summary, _ = rank(
        weighted(), folder, {"x": FOUR}, "act", ["gradient_x_activation", "activation", "gradient"],
        ablation=None, fidelity=options, labels=None, target={"class": None},
    )  # fmt: skip
    return {ranking["id"]: ranking["fidelity"] for ranking in summary["rankings"]}


def test_delta_when_two_units_are_farthest_from_the_baseline_then_they_are_replaced(tmp_path: Path) -> None:
    # Units 3 and 2 have −6 + 4, then units 0 and 1 have 16 + 9. Their activations are 7 and 7,
    # their gradients −1 and 7.
    outcome = fidelity(tmp_path, fraction=0.5)

    assert (outcome["gradient_x_activation"]["mae"], outcome["gradient_x_activation"]["mae_of_zero"]) == (0.0, 13.5)
    assert (outcome["activation"]["mae"], outcome["activation"]["bias"]) == (13.5, -4.5)
    assert (outcome["gradient"]["mae"], outcome["gradient"]["bias"]) == (9.5, -8.5)
    assert outcome["gradient"]["spearman"] == pytest.approx(1.0)
    assert outcome["activation"]["spearman"] is None
    assert [outcome[name]["against"] for name in outcome] == [
        "gradient",
        "gradient_x_activation",
        "gradient_x_activation",
    ]


def test_top_when_each_method_replaces_different_units_then_rankings_are_not_compared(tmp_path: Path) -> None:
    outcome = fidelity(tmp_path, select="top", fraction=0.25)

    # The shares are 4 6 −6 4 and 16 9 −4 1. The largest activation is that of unit 3, then of unit
    # 0; the largest gradient is always that of unit 0.
    assert (outcome["gradient_x_activation"]["mae"], outcome["gradient_x_activation"]["mae_of_zero"]) == (0.0, 11.0)
    assert (outcome["activation"]["mae"], outcome["activation"]["mae_of_zero"]) == (6.0, 10.0)
    assert (outcome["gradient"]["mae"], outcome["gradient"]["mae_of_zero"]) == (6.0, 10.0)
    assert [outcome["gradient"][name] for name in COMPARED] == [None] * 4


@pytest.mark.parametrize(
    ("fraction", "drops"), [(0.01, (4, 16)), (0.5, (-2, 25)), (0.74, (-2, 25)), (0.75, (4, 21)), (1.0, (8, 22))]
)
def test_fraction_when_units_are_counted_then_is_rounded_down_to_at_least_one_unit(
    fraction: float, drops: tuple[float, float], tmp_path: Path
) -> None:
    outcome = fidelity(tmp_path, fraction=fraction)["gradient"]

    assert outcome["mae_of_zero"] == (abs(drops[0]) + abs(drops[1])) / 2


def test_fraction_when_the_product_is_just_below_a_whole_number_then_it_is_that_number(tmp_path: Path) -> None:
    # 0.29 · 100 is 28.999999999999996; all units are equal and F counts them
    program = program_of(Weighted([1.0] * 100), torch.ones(2, 100, dtype=torch.float64))
    summary, _ = rank(
        program, tmp_path, {"x": np.ones((2, 100))}, "act", ["gradient"],
        ablation=None, fidelity={"fraction": 0.29}, target={"class": None},
    )  # fmt: skip

    assert summary["rankings"][0]["fidelity"]["mae_of_zero"] == 29.0


def test_random_when_units_are_drawn_then_all_methods_have_the_same_and_the_seed_decides(tmp_path: Path) -> None:
    first, again = fidelity(tmp_path, select="random"), fidelity(tmp_path, select="random")

    assert first == again
    assert len({result["mae_of_zero"] for result in first.values()}) == 1
    assert first["gradient_x_activation"]["mae"] == 0.0
    assert first["gradient"]["against"] == "gradient_x_activation"


def test_clusters_when_they_share_examples_then_each_example_counts_once(tmp_path: Path) -> None:
    request: dict[str, Any] = {"ablation": None, "fidelity": {}, "target": {"class": None}}
    fields = {"x": np.vstack([FOUR, 10 * FOUR])}
    shared = {"by": "members", "members": {"a": [0, 1], "b": [1], "c": [1, 0]}}
    overlapping, _ = rank(weighted(), tmp_path, fields, "act", ["activation"], clusters=shared, **request)
    single, _ = rank(weighted(), tmp_path, {"x": FOUR}, "act", ["activation"], **request)

    assert overlapping["rankings"][0]["fidelity"] == single["rankings"][0]["fidelity"]


def test_clusters_when_baselines_depend_on_them_then_an_example_counts_in_the_first(tmp_path: Path) -> None:
    x = np.vstack([FOUR, 10 * FOUR])
    request: dict[str, Any] = {"ablation": None, "fidelity": {}, "target": {"class": None}, "baseline": {"kind": "cluster_mean"}}

    def error(**members: list[int]) -> float:
        clusters = {"by": "members", "members": members}
        summary, _ = rank(weighted(), tmp_path, {"x": x}, "act", ["gradient"], clusters=clusters, **request)
        return float(summary["rankings"][0]["fidelity"]["mae"])

    # Only row 3 of the second cluster counts; its farthest unit is replaced by the mean of all
    # three.
    away = x[3] - x[[0, 1, 3]].mean(0)
    unit = int(np.abs(away).argmax())
    weight = [4.0, 3.0, -2.0, 1.0][unit]

    assert error(a=[0, 1], b=[1, 0, 3]) == pytest.approx((2 * error(a=[0, 1]) + abs(weight - weight * away[unit])) / 3)


@pytest.mark.parametrize("units", ["neuron", "channel"])
@pytest.mark.parametrize("fill", ["baseline", "zero", "mean", "resample"])
@pytest.mark.parametrize("select", ["delta", "top", "random"])
def test_fidelity_when_a_plain_net_runs_every_pass_then_the_numbers_agree(
    select: str, fill: str, units: str, tmp_path: Path
) -> None:
    net, shape = NETS[units]
    x = torch.tensor(np.random.default_rng(3).standard_normal((9, *shape)))
    request: dict[str, Any] = {
        "units": units,
        "target": {"class": 1},
        "baseline": {"kind": "constant", "value": 0.3},
        "ablation": None,
    }
    context = prepared(oracle_program(units), tmp_path, {"x": x.numpy()}, layer="act", **request)
    summary, _ = rank(
        oracle_program(units), tmp_path, {"x": x.numpy()}, "act", ["gradient_x_activation"],
        fidelity={"fraction": 0.5, "fill": fill, "select": select}, **request,
    )  # fmt: skip
    plain = Plain(net, x, 1, units == "channel")
    predicted, actual = [], []
    for row in range(9):
        candidates = [candidate for candidate in range(9) if candidate != row]
        partner = candidates[int(context.streams.generator("resample", row).integers(8))]
        baseline = plain.h(torch.full_like(x[row], 0.3))
        filled = {
            "baseline": baseline,
            "zero": torch.zeros_like(baseline),
            "mean": torch.stack([plain.h(each) for each in x]).mean(0),
            "resample": plain.h(x[partner]),
        }[fill]
        scores = plain.gradient_x_activation(np.array([row]))
        chosen = {
            "delta": np.argsort(-plain.activity(np.array([row]), lambda _: baseline)),  # noqa: B023
            "top": np.argsort(-scores),
            "random": context.streams.generator("fidelity", row).permutation(len(scores)),
        }[select][:2]
        predicted.append(scores[chosen].sum())
        actual.append(plain.f(row, set(), filled) - plain.f(row, set(chosen.tolist()), filled))
    outcome, p, a = summary["rankings"][0]["fidelity"], np.array(predicted), np.array(actual)

    assert outcome["mae"] == pytest.approx(np.abs(p - a).mean(), rel=1e-9)
    assert outcome["mae_of_zero"] == pytest.approx(np.abs(a).mean(), rel=1e-9)
    assert outcome["bias"] == pytest.approx((p - a).mean(), rel=1e-9)
    assert outcome["spearman"] == pytest.approx(stats.spearmanr(p, a).statistic)


TIES = np.random.default_rng(5).permutation(12)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=12, max_size=12), min_size=1, max_size=4),
    st.integers(1, 12),
)
def test_largest_when_values_are_equal_then_a_plain_sort_with_the_same_order_of_ties_agrees(
    rows: list[list[float]], count: int
) -> None:
    units = largest(torch.tensor(rows), count, torch.from_numpy(TIES))
    rank_of = np.argsort(TIES)

    for values, chosen in zip(rows, units.tolist(), strict=True):
        expected = sorted(range(12), key=lambda unit: (-values[unit], rank_of[unit]))[:count]
        assert sorted(chosen) == sorted(expected)


def test_largest_when_a_row_is_alone_then_its_units_are_the_same_as_in_a_batch() -> None:
    values = torch.randint(0, 3, (20, 12), generator=torch.Generator().manual_seed(0)).float()
    batch = largest(values, 5, torch.from_numpy(TIES))

    for row in range(20):
        assert set(largest(values[row : row + 1], 5, torch.from_numpy(TIES))[0].tolist()) == set(batch[row].tolist())


def test_delta_when_all_units_are_equally_far_then_the_seed_decides(tmp_path: Path) -> None:
    program = program_of(Weighted([2.0**unit for unit in range(10)]), torch.ones(2, 10, dtype=torch.float64))
    request: dict[str, Any] = {"ablation": None, "fidelity": {"fraction": 0.3}, "target": {"class": None}}
    outcome = {
        seed: rank(program, tmp_path, {"x": np.ones((3, 10))}, "act", ["gradient"], seed=seed, **request)[0]["rankings"][0]
        for seed in (0, 0, 1, 2)
    }
    # Each bit of F's drop is a unit.
    drops = {seed: int(ranking["fidelity"]["mae_of_zero"]) for seed, ranking in outcome.items()}

    assert all(drop.bit_count() == 3 for drop in drops.values())
    assert len(set(drops.values())) > 1


@given(
    st.lists(st.tuples(*[st.sampled_from([0.0, 1e-30, 1.0, 5.0, -5.0, 1e30]) for _ in range(3)]), min_size=1, max_size=16),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)  # scipy counts all signs of up to 13 tied differences
def test_judge_when_errors_tie_or_vanish_then_no_number_is_nan(values: list[tuple[float, float, float]], compare: bool) -> None:
    first, second, actual = (np.array(column) for column in zip(*values, strict=True))
    for outcome in judge({"a": drops(first, actual), "b": drops(second, actual)}, compare).values():
        numbers = [
            outcome.mae,
            outcome.mae_of_zero,
            outcome.bias,
            outcome.spearman,
            outcome.mann_whitney,
            outcome.wilcoxon,
        ]
        if outcome.mean_difference is not None:
            numbers += [
                outcome.mean_difference.low,
                outcome.mean_difference.value,
                outcome.mean_difference.high,
            ]

        assert all(number is None or np.isfinite(number) for number in numbers)
        assert all(number is None or 0 <= number <= 1 for number in (outcome.mann_whitney, outcome.wilcoxon))
        assert (outcome.against is not None) is compare


@pytest.mark.parametrize("count", [3, 8, 30, 300])
def test_judge_when_there_are_more_examples_then_tests_are_exact_or_normal_as_scipy_chooses(count: int) -> None:
    rng = np.random.default_rng(count)
    actual, first, second = rng.normal(size=(3, count))
    outcome = judge({"one": drops(first, actual), "two": drops(second, actual)}, compare=True)["one"]
    first_errors, second_errors = np.abs(first - actual), np.abs(second - actual)

    assert outcome.wilcoxon == pytest.approx(
        _signed_ranks(first_errors - second_errors) if count <= 8 else stats.wilcoxon(first_errors, second_errors).pvalue
    )
    assert outcome.mann_whitney == pytest.approx(stats.mannwhitneyu(first_errors, second_errors).pvalue)


def test_judge_when_some_differences_are_zero_then_only_the_nonzero_ones_are_tested() -> None:
    actual = np.zeros(9)
    outcome = judge({"one": drops([1, 2, 3, 4, 5, 6, 7, 0, 0], actual), "two": drops(np.zeros(9), actual)}, compare=True)["one"]

    # All seven differences have the same sign, which 2 of 128 combinations of signs have.
    assert outcome.wilcoxon == pytest.approx(2 / 128)


def _signed_ranks(difference: np.ndarray) -> float:
    """Two-sided p of the signed-rank sum, over all combinations of the differences' signs."""
    ranks = np.abs(difference).argsort().argsort() + 1
    sums = [sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign) for signs in product((0, 1), repeat=len(ranks))]
    observed = sum(ranks[difference > 0])
    return float(min(1.0, 2 * min(np.mean(np.array(sums) <= observed), np.mean(np.array(sums) >= observed))))


NETS: dict[str, tuple[Cut, tuple[int, ...]]] = {"neuron": (Dense(), (5,)), "channel": (Conv(), (2, 3, 3))}


@cache
def oracle_program(units: str) -> Program:
    net, shape = NETS[units]
    return program_of(net, torch.zeros(2, *shape, dtype=torch.float64))
