"""`verify` equals a plain loop over single units; its limit holds in the share `level` of draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from tests.engine.ablation.nets import Conv, Cut, Dense, Units, Weighted
from tests.engine.ablation.plain import Plain, prepared
from tests.engine.in_process import program_of, rank
from unitrank_engine.ablation.exact.verify import Verification, missed_at_most, precision
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.fills import Fills
from unitrank_schemas.jobs.ablation import Verify

BASELINE = 0.3
MEMBERS = {"a": [0, 2, 4, 6, 8, 10, 12], "b": [1, 3, 5, 7, 8, 9, 10], "one": [11]}


def options(**ablation: Any) -> dict[str, Any]:
    return {
        "clusters": {"by": "members", "members": MEMBERS},
        "target": {"class": 1},
        "baseline": {"kind": "constant", "value": BASELINE},
        "ablation": {"random": 3, "check_fill": None, **ablation},
        "fidelity": None,
    }


@pytest.mark.check
@pytest.mark.parametrize(("net", "units"), [(Dense(), "neuron"), (Conv(), "channel"), (Conv(), "neuron")])
def test_verify_when_a_plain_loop_replaces_each_unit_then_all_numbers_agree(net: Cut, units: str, tmp_path: Path) -> None:
    shape = (5,) if isinstance(net, Dense) else (2, 3, 3)
    x = torch.tensor(np.random.default_rng(5).standard_normal((13, *shape)))
    program, fields, top, sample = program_of(net, x[:2]), {"x": x.numpy()}, 1, 2
    request = options(verify={"top": top, "sample": sample}) | {"units": units}
    context = prepared(program, tmp_path, fields, layer="act", **request)
    plain = Plain(net, x, 1, units == "channel")
    n = context.units.count
    draw = context.streams.generator("verify").permutation(n)

    summary, _ = rank(program, tmp_path, fields, "act", ["gradient_x_activation"], **request)

    clusters = summary["rankings"][0]["clusters"]
    fill = plain.h(torch.full_like(x[0], BASELINE))
    for index, name in enumerate(["a", "b"]):
        rows, halves = context.clusters[index].rows, context.halves[index]
        importance = plain.gradient_x_activation(rows[halves.sides == 0])
        tested = rows[halves.tested]
        effects = np.array([np.mean([plain.f(row, set(), fill) - plain.f(row, {i}, fill) for row in tested]) for i in range(n)])
        order = np.argsort(-importance)
        highest, others = order[: 2 * top], [unit for unit in draw if unit not in order[: 2 * top]][:sample]
        true_top = sorted(highest, key=lambda unit: -effects[unit])[:top]
        exceeding = sum(effects[others] > min(effects[true_top]))
        left = n - 2 * top
        possible = [k for k in range(left + 1) if stats.hypergeom.cdf(exceeding, left, k, len(others)) > 0.05]
        verified = clusters[name]["verified"]
        assert verified["precision"] == len(set(true_top) & set(order[:top].tolist())) / top
        chosen = [*highest, *others]
        assert verified["spearman"] == pytest.approx(float(stats.spearmanr(importance[chosen], effects[chosen]).statistic))
        assert verified["missed_at_most"] == max(possible)
    assert clusters["one"]["verified"] is None


def test_effects_when_passes_are_short_of_memory_then_smaller_passes_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(6).standard_normal((13, 2, 3, 3))
    context = prepared(program_of(Conv(), torch.tensor(x[:2])), tmp_path, {"x": x}, layer="act", **options())
    test = Verification(Fills(context, find_baselines(context, 16), 16), Verify(top=3, sample=9), "baseline")
    importance = [np.arange(context.units.count, dtype=float)] * 3
    test.plan(1)
    whole = test.measure(importance)
    passes: list[int] = []
    score = type(context).score

    def limited(self: Any, output: torch.Tensor, fixed: Any) -> torch.Tensor:
        if len(output) > 13:
            raise torch.OutOfMemoryError("out of memory")
        passes.append(len(output))
        return score(self, output, fixed)

    monkeypatch.setattr(type(context), "score", limited)

    np.testing.assert_allclose(test.measure(importance), whole, rtol=1e-12)
    assert test.drops.halvings > 0
    assert max(passes) <= 13


def test_effects_when_the_target_becomes_infinite_then_the_error_tells_what_helps(tmp_path: Path) -> None:
    net = Units(lambda h: 1 / h[:, :1] + h[:, 1:])
    ablation = {
        "orders": [],
        "random": 0,
        "check_fill": None,
        "fractions": [1.0],
        "fill": "zero",
        "verify": {"top": 1, "sample": 1},
    }
    with pytest.raises(
        EngineError, match=r"infinite with units replaced; choose another fill .* repeat the request with `ablation: null`"
    ):
        rank(
            program_of(net, torch.ones(2, 2, dtype=torch.float64)), tmp_path, {"x": np.ones((6, 2))}, "act", ["activation"],
            target={"class": None}, baseline={"kind": "constant", "value": 1.0}, ablation=ablation, fidelity=None,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("effects", "top", "expected"),
    [
        ([4.0, 3.0, 2.0, 1.0], 2, 1.0),
        ([4.0, 1.0, 2.0, 3.0], 2, 0.5),
        ([1.0, 2.0, 3.0, 4.0], 2, 0.0),
        ([3.0, 0.0, 0.0, 0.0], 2, (1 + 1 / 3) / 2),
        ([0.0, 3.0, 0.0], 1, 0.0),
        ([2.0, 1.0], 2, 1.0),
    ],
)
def test_precision_when_effects_tie_at_the_end_of_the_top_then_they_count_in_proportion(
    effects: list[float], top: int, expected: float
) -> None:
    assert precision(np.array(effects), top) == pytest.approx(expected)


@pytest.mark.parametrize(("units", "limit"), [(1600, 21), (5408, 78)])
def test_limit_when_no_unit_of_200_exceeds_then_is_the_number_of_the_contract(units: int, limit: int) -> None:
    assert missed_at_most(0, population=units - 40, sample=200, level=0.95) == limit


def test_limit_when_all_others_are_measured_then_is_exact() -> None:
    assert [missed_at_most(x, population=7, sample=7, level=0.95) for x in range(8)] == list(range(8))
    assert missed_at_most(0, population=0, sample=0, level=0.95) == 0


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_limit_when_all_samples_are_weighed_by_their_chance_then_holds_in_the_share_level(level: float) -> None:
    population, sample, numbers = 60, 20, np.arange(21)
    limits = np.array([missed_at_most(x, population=population, sample=sample, level=level) for x in range(sample + 1)])
    covered = [(stats.hypergeom.pmf(numbers, population, k, sample) * (limits >= k)).sum() for k in range(population + 1)]
    missed = [(stats.hypergeom.pmf(numbers, population, k, sample) * (limits - 1 >= k)).sum() for k in range(population + 1)]

    assert min(covered) >= level
    assert min(missed) < level  # a smaller limit would be wrong too often


@pytest.mark.check
def test_missed_when_rankings_are_noise_then_the_limit_holds_in_the_share_level(tmp_path: Path) -> None:
    units, top, level, draws = 40, 3, 0.8, 100
    rng = np.random.default_rng(2)
    weights, x = rng.exponential(size=units), rng.uniform(0.5, 1.5, (6, units))
    program = program_of(Weighted(weights.tolist()), torch.tensor(x[:2]))
    covered = 0
    for seed in range(draws):
        context = prepared(program, tmp_path, {"x": x}, layer="act", **options() | {"clusters": {"by": "all"}, "seed": seed})
        test = Verification(Fills(context, find_baselines(context, 16), 16), Verify(top=top, sample=10), "zero")
        test.plan(1)
        importance = rng.standard_normal(units)
        verified = test.verified(0, importance, test.measure([importance])[0], level)
        # The target is linear, so that the effect of a unit is its weight times its mean.
        effects = weights * x[context.clusters[0].rows[context.halves[0].tested]].mean(0)
        highest = np.argsort(-importance)[: 2 * top]
        exceeding = np.delete(effects, highest) > np.sort(effects[highest])[-top]
        covered += verified is not None and int(exceeding.sum()) <= verified.missed_at_most

    assert covered / draws >= level - 3 * np.sqrt(level * (1 - level) / draws)
