"""The bootstrap of the first units equals a plain bootstrap, and its intervals equal scipy's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.attribution import bootstrap
from unitrank_engine.attribution.bootstrap import DRAWS, Bootstrap, in_top
from unitrank_engine.program import Program
from unitrank_tables.top_units import highest

RNG = np.random.default_rng(8)


class Pair(nn.Module):
    """Two classes from ten inputs; the activation at the input is x."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.sum(1), -x.sum(1)], 1)


@pytest.fixture(scope="module")
def pair() -> Program:
    return program_of(Pair(), torch.zeros(2, 10))


def job(
    program: Program, folder: Path, x: np.ndarray, methods: list[Any], **request: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    settings = {"ablation": None, "fidelity": None, "target": {"class": 0}}
    return rank(program, folder, {"x": x.astype(np.float32)}, "input", methods, **(settings | request))


def tops(summary: dict[str, Any], ranking: int = 0) -> dict[str, list[dict[str, Any]]]:
    clusters: dict[str, Any] = summary["rankings"][ranking]["clusters"]
    return {name: cluster["top"] for name, cluster in clusters.items()}


def drawn(sizes: list[int]) -> Bootstrap:
    return Bootstrap.of(slice(0, len(sizes)), np.array(sizes), np.random.default_rng(5))


def plain_in_top(values: np.ndarray, weights: np.ndarray, first: np.ndarray, *, root: bool = False) -> list[float]:
    """Return the shares from each draw's weighted mean, unit by unit."""
    k, shares = len(first), np.zeros(len(first))
    for weight in weights:
        mean = [float(sum(w * value for w, value in zip(weight, column, strict=True))) for column in values.T]
        importance = np.float32([value**0.5 for value in mean] if root else mean)
        boundary = sorted(importance, reverse=True)[k - 1]
        above, tied = sum(importance > boundary), sum(importance == boundary)
        for place, unit in enumerate(first):
            shares[place] += importance[unit] > boundary or (importance[unit] == boundary) * (k - above) / tied
    return list(shares / len(weights))


SIZES = [3, 4, 4, 3, 5, 4, 3, 4, 4]
GROUPS = {
    "noise": RNG.normal(size=(9, 60)),
    "a few leaders": RNG.normal(size=(9, 60)) + 3.0 * np.arange(60)[::-1] ** 2 / 60,
    "equal units": np.repeat(RNG.normal(size=(9, 12)), 5, axis=1),
    "mostly zeros": np.where(np.arange(60) < 4, RNG.uniform(1, 2, (9, 60)), 0.0),
    # In float32 the spread of these sums is lost in their squares.
    "small differences": np.multiply.outer(SIZES, 1000 + np.linspace(0, 0.1, 60)) + 0.01 * RNG.normal(size=(9, 60)),
    "squares overflow": 1e30 * RNG.normal(size=(9, 60)),
    "one huge unit": np.where(np.arange(60) == 7, 1e9, RNG.normal(size=(9, 60))),
}


@pytest.mark.parametrize("values_at_once", [1, 10**6])
@pytest.mark.parametrize("name", GROUPS)
def test_in_top_when_computed_draw_by_draw_then_it_is_the_same(
    name: str, values_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "VALUES_AT_ONCE", values_at_once)
    sums, draws = GROUPS[name].astype(np.float32), drawn(SIZES)
    first = highest(sums.sum(0), 10)

    expected = plain_in_top(sums.astype(float), draws.shares, first)
    assert in_top(sums, draws, first).tolist() == pytest.approx(expected, abs=1e-12)


def test_in_top_when_the_importance_is_a_root_then_it_is_the_same() -> None:
    squares, draws = GROUPS["noise"] ** 2, drawn(SIZES)
    first = highest(squares.sum(0), 10)

    expected = plain_in_top(squares, draws.shares, first, root=True)
    assert in_top(squares, draws, first, root=True).tolist() == pytest.approx(expected, abs=1e-12)


def test_in_top_when_units_tie_then_they_share_the_places_that_are_left() -> None:
    # Two leaders, and 38 equal units for 8 places.
    sums = np.ones((9, 40))
    sums[:, [7, 30]] = 2.0

    shares = in_top(sums, drawn(SIZES), highest(sums.sum(0), 10))
    assert shares.tolist() == pytest.approx([1.0] * 2 + [8 / 38] * 8, rel=1e-12)


def test_draws_when_groups_differ_in_size_then_each_draw_has_as_many_groups() -> None:
    draws = drawn(SIZES)

    times = draws.shares / draws.shares.max(1, keepdims=True)
    assert draws.shares.shape == (DRAWS, 9)
    np.testing.assert_allclose(draws.shares @ np.array(SIZES), 1.0)
    assert len(np.unique(times, axis=0)) > 100


def test_in_top_when_examples_are_drawn_in_another_way_then_shares_agree_within_their_noise(pair: Program, tmp_path: Path) -> None:
    # 24 examples are 24 groups. Units 2 to 7 compete for the last three of five places.
    x = RNG.normal(size=(24, 10)) + np.array([9, 8, 1, 1, 1, 1, 1, 1, -9, -9])

    (units,) = tops(job(pair, tmp_path, x, ["activation"])[0]).values()

    rows = np.random.default_rng(0).integers(0, 24, (4000, 24))
    order = np.argsort(-x[rows].mean(1), axis=1)[:, :5]
    for unit in units[:5]:
        share = float((order == unit["unit"]).any(1).mean())
        assert unit["in_top"] == pytest.approx(share, abs=4 * (share * (1 - share) / DRAWS) ** 0.5 + 1e-9)
    assert [unit["in_top"] for unit in units[:2]] == [1.0, 1.0]
    assert [unit["in_top"] for unit in units[5:]] == [None] * 5


def test_top_when_a_cluster_has_fewer_than_8_examples_then_it_has_intervals_alone(pair: Program, tmp_path: Path) -> None:
    x = RNG.normal(size=(40, 10))
    members = {"many": list(range(30)), "eight": list(range(8)), "seven": list(range(7)), "one": [3]}

    summary, _ = job(pair, tmp_path, x, ["activation"], clusters={"by": "members", "members": members})

    top = tops(summary)
    assert {name: units[0]["in_top"] is not None for name, units in top.items()} == {
        "many": True, "eight": True, "seven": False, "one": False,
    }  # fmt: skip
    clusters = summary["rankings"][0]["clusters"]
    assert (clusters["seven"]["stable_top"], clusters["one"]["stable_top"]) == (None, None)
    for name in ("many", "seven"):
        for unit in top[name]:
            values = x[members[name]].astype(np.float32)[:, unit["unit"]].astype(float)
            expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
            assert (unit["importance_low"], unit["importance_high"]) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (top["one"][0]["importance_low"], top["one"][0]["importance_high"]) == (None, None)


def test_top_when_the_job_has_a_level_then_the_intervals_have_it(pair: Program, tmp_path: Path) -> None:
    x = RNG.normal(size=(40, 10))

    summary, _ = job(pair, tmp_path, x, ["activation"], ablation={"level": 0.8, "random": 9})

    unit = tops(summary)["all"][0]
    expected = stats.ttest_1samp(x.astype(np.float32)[:, unit["unit"]].astype(float), 0.0).confidence_interval(0.8)
    assert (unit["importance_low"], unit["importance_high"]) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_stable_top_when_units_lead_in_every_draw_then_it_names_them(pair: Program, tmp_path: Path) -> None:
    x = 0.1 * RNG.normal(size=(50, 10)) + np.array([0, 0, 9, 0, 7, 0, 0, 5, 0, 0])
    methods = [{"name": "activation", "statistic": statistic} for statistic in ("mean", "mean_abs", "rms")]

    summary, _ = job(pair, tmp_path, x, methods)

    for ranking in summary["rankings"]:
        assert ranking["clusters"]["all"]["stable_top"][:3] == [2, 4, 7]


def test_in_top_when_batches_are_smaller_then_it_is_equal_to_the_bit(
    pair: Program, tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    x = RNG.normal(size=(70, 10))
    whole = tops(job(pair, tmp_path, x, ["activation"])[0])

    limit_rows(3)

    assert tops(job(pair, tmp_path, x, ["activation"])[0]) == whole


@pytest.mark.parametrize(("groups", "is_null"), [(32, False), (8, False), (7, True)])
def test_in_top_when_memory_allows_few_groups_then_it_is_null_below_8(
    groups: int, is_null: bool, pair: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "MOST_BYTES", groups * bootstrap.BYTES * 10)

    summary, _ = job(pair, tmp_path, RNG.normal(size=(70, 10)), ["activation"])
    assert (tops(summary)["all"][0]["in_top"] is None) == is_null


def test_in_top_when_scores_overflow_then_it_is_null(pair: Program, tmp_path: Path) -> None:
    x = np.full((64, 10), 3e19)

    summary, _ = job(pair, tmp_path, x, [{"name": "activation", "statistic": "rms"}, "activation"])

    # Sums of squares in float32 end at 3.4e38.
    assert [tops(summary, ranking)["all"][0]["in_top"] is None for ranking in (0, 1)] == [True, False]


def test_top_when_a_layer_has_one_unit_then_it_has_no_in_top(tmp_path: Path) -> None:
    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, -x], 1)

    summary, _ = job(program_of(One(), torch.zeros(2, 1)), tmp_path, RNG.normal(size=(40, 1)), ["activation"])

    assert [unit["in_top"] for unit in tops(summary)["all"]] == [None]
