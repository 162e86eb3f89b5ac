"""The study equals a plain study that runs the eager net for every example and set of units."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.ablation.nets import Conv, Cut, Dense
from tests.engine.ablation.plain import FillOf, Plain, prepared
from tests.engine.ablation.plain_study.definitions import (
    PlainCluster,
    holm,
    lead,
    order_of,
    plain_p_other_examples,
    relabelled,
    removable_at,
    share_above,
    share_below,
    standardised,
    step_down,
)
from tests.engine.in_process import program_of, rank
from unitrank_engine.ablation.masks.nested import Nested
from unitrank_engine.ablation.statistics.judgement import Tested
from unitrank_engine.ablation.statistics.other_examples import p_other_examples
from unitrank_engine.job.context import JobContext
from unitrank_engine.program import Program

RANDOM = 40
LEVEL = 0.9
TOLERANCE = 0.6
"""So large that three examples are enough for `removable_at`."""
ROWS = 24
BASELINE = 0.3
COUNTS = [1, 2, 3]
METHODS = ["gradient_x_activation", "activation", "random"]
FAMILY = ["gradient_x_activation", "activation"]
"""The rankings that count as tests of the job."""
MEMBERS = {
    # Two clusters that share rows, a cluster with one test example, and a cluster without test
    # examples. Six rows have no cluster.
    "a": [0, 2, 4, 6, 8, 10, 12, 14, 16],
    "b": [1, 3, 5, 7, 8, 9, 10],
    "c": [17, 18, 19],
    "d": [20],
}
TESTED = {"a": 3, "b": 3, "c": 1, "d": 0}


@pytest.fixture(scope="module")
def nets() -> dict[str, tuple[Cut, Program, Tensor]]:
    rng = np.random.default_rng(5)
    x = {"neuron": torch.tensor(rng.standard_normal((ROWS, 5))), "channel": torch.tensor(rng.standard_normal((ROWS, 2, 3, 3)))}
    nets: dict[str, Cut] = {"neuron": Dense(), "channel": Conv()}
    return {units: (net, program_of(net, x[units][:2]), x[units]) for units, net in nets.items()}


@dataclass(frozen=True)
class Case:
    """A finished job, and what the plain study needs."""

    plain: Plain
    context: JobContext
    fill: FillOf
    labels: np.ndarray
    measure: str
    summary: dict[str, Any]
    arrays: dict[str, np.ndarray]
    p_values_of_examples: list[float | None]

    @property
    def units(self) -> int:
        return self.context.units.count

    def ranking_rows(self, cluster: int) -> np.ndarray:
        rows: np.ndarray = self.context.clusters[cluster].rows
        return rows[self.context.halves[cluster].sides == 0]

    def cluster(self, number: int) -> PlainCluster:
        rows = self.context.clusters[number].rows[self.context.halves[number].tested].tolist()

        @cache
        def f(row: int, units: frozenset[int]) -> float:
            return self.plain.f(row, set(units), self.fill(row))

        @cache
        def right(row: int, units: frozenset[int]) -> float:
            return float(self.is_right(row, units))

        return PlainCluster(rows, self.units, COUNTS, f, right if self.measure == "accuracy" else f)

    def is_right(self, row: int, units: Iterable[int]) -> bool:
        return bool(self.plain.predicted(row, set(units), self.fill(row)) == self.labels[row])

    def importance(self, method: str, cluster: int) -> np.ndarray:
        rows = self.ranking_rows(cluster)
        if method == "random":
            noise = [self.context.streams.generator("noise", "random", int(row)).standard_normal(self.shape) for row in rows]
            mean = np.mean(noise, axis=0)
            return mean.reshape(self.units, -1).sum(1)
        return {"gradient_x_activation": self.plain.gradient_x_activation, "activation": self.plain.activation}[method](rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.plain.h(self.plain.x[0]).shape)

    def sigmas(self) -> list[np.ndarray]:
        return [self.context.streams.generator("order", number).permutation(self.units) for number in range(RANDOM)]


def fill_of(name: str, plain: Plain, job_rows: np.ndarray, partners: dict[int, int]) -> FillOf:
    """The values that replace the units of a row, as the contract defines them."""
    means = torch.stack([plain.h(plain.x[row]) for row in job_rows]).mean(0)
    return {
        "baseline": lambda row: plain.h(torch.full_like(plain.x[row], BASELINE)),
        "zero": lambda row: torch.zeros_like(means),
        "mean": lambda row: means,
        "resample": lambda row: plain.h(plain.x[partners[row]]),
    }[name]


CASES = [
    pytest.param(
        fill, units, nested, measure,
        id=f"{fill}-{units}-{'nested' if nested else 'one by one'}-{measure}",
        # `make test` has one case of each place and fill; `make check` has the others.
        marks=() if nested == (units == "neuron") and measure == "score" else pytest.mark.check,
    )
    for fill, units, nested, measure in product(
        ["baseline", "zero", "mean", "resample"], ["neuron", "channel"], [False, True], ["score", "accuracy"]
    )
]  # fmt: skip


@pytest.mark.parametrize(("fill", "units", "nested", "measure"), CASES)
def test_study_when_a_plain_study_runs_every_pass_then_all_numbers_agree(
    units: str,
    fill: str,
    nested: bool,
    measure: str,
    tmp_path: Path,
    nets: dict[str, tuple[Cut, Program, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, program, x = nets[units]
    monkeypatch.setattr("unitrank_engine.ablation.masks.nested.MIN_ELEMENTS", 0 if nested else 10**9)
    request: dict[str, Any] = {
        "layer": "act",
        "units": units,
        "clusters": {"by": "members", "members": MEMBERS},
        "target": {"class": 1},
        "labels": "y",
        "baseline": {"kind": "constant", "value": BASELINE},
        "ablation": {
            "fill": fill, "fractions": [0.25, 0.5, 0.75], "random": RANDOM, "examples": 3, "check_fill": None, "measure": measure,
            "level": LEVEL, "tolerance": TOLERANCE,
        },
        "fidelity": None,
    }  # fmt: skip
    labels = np.random.default_rng(6).integers(0, 3, ROWS)
    fields = {"x": x.numpy(), "y": labels}
    context = prepared(program, tmp_path, fields, **request)
    assert (Nested.of(context, COUNTS) is not None) == nested
    layer = request.pop("layer")
    p_values: list[float | None] = []

    def recorded(tested: Tested) -> float | None:
        p_values.append(p_other_examples(tested))
        return p_values[-1]

    monkeypatch.setattr("unitrank_engine.ablation.study.p_other_examples", recorded)
    summary, arrays = rank(program, tmp_path, fields, layer, METHODS, **request)
    plain = Plain(net, x, 1, units == "channel")
    job_rows = np.unique(np.concatenate(list(MEMBERS.values())))
    partners = {row: _partner(context, row) for row in job_rows.tolist()}
    case = Case(plain, context, fill_of(fill, plain, job_rows, partners), labels, measure, summary, arrays, p_values)

    clusters = [case.cluster(number) for number in range(len(MEMBERS))]
    assert {name: len(cluster.rows) for name, cluster in zip(MEMBERS, clusters, strict=True)} == TESTED
    for number, cluster in enumerate(clusters):
        ranking = case.ranking_rows(number)
        assert len(ranking) == -(-len(context.clusters[number].rows) // 2)
        assert not set(ranking.tolist()) & set(cluster.rows)
    for number, cluster in enumerate(clusters[:3]):
        _assert_controls(case, number, cluster)
        for method in METHODS:
            _assert_curves(case, number, cluster, method)
            _assert_p_values(case, number, cluster, method)
    _assert_families(case, clusters)
    _assert_differences(case, clusters)
    for method in METHODS:
        _assert_other_examples(case, clusters, method)
        _assert_specificity(case, clusters, method)
        _assert_removable(case, clusters, method)


def _assert_controls(case: Case, number: int, cluster: PlainCluster) -> None:
    """The curves of the random orders, their bands and their mean area."""
    orders = [order_of(sigma) for sigma in case.sigmas()]
    curves = np.array([[cluster.mean(cluster.f, []), *cluster.deleted(order, cluster.f)] for order in orders])
    areas = [cluster.share(cluster.drop(order)) for order in orders]
    activity = np.argsort(-case.plain.activity(case.ranking_rows(number), case.fill)).tolist()

    np.testing.assert_allclose(case.arrays["ablation/random"][number], curves, rtol=1e-6, atol=1e-7)
    for method in METHODS:
        ablation = _ablation(case, method, number)
        assert ablation["counts"] == COUNTS
        _same(ablation["activity_area"], cluster.share(cluster.drop(activity)))
        _same(ablation["random"]["area"], None if cluster.total is None else float(np.mean(np.array(areas, dtype=float))))
        band = ablation["random"]["score"]
        np.testing.assert_allclose(band["mean"], curves[:, 1:].mean(0), rtol=1e-10)
        np.testing.assert_allclose(band["low"], np.quantile(curves[:, 1:], (1 - LEVEL) / 2, axis=0), rtol=1e-10)
        np.testing.assert_allclose(band["high"], np.quantile(curves[:, 1:], (1 + LEVEL) / 2, axis=0), rtol=1e-10)


def _assert_curves(case: Case, number: int, cluster: PlainCluster, method: str) -> None:
    """The curves of the ranking's three orders, and the numbers that they give."""
    importance = case.importance(method, number)
    most, least = np.argsort(-importance).tolist(), np.argsort(np.abs(importance)).tolist()
    ablation = _ablation(case, method, number)
    f = cluster.f
    expected = {
        "most": (cluster.mean(f, []), cluster.deleted(most, f)),
        "least": (cluster.mean(f, []), cluster.deleted(least, f)),
        "keep": (cluster.mean(f, range(case.units)), cluster.kept(most, f)),
    }
    for order, (first, curve) in expected.items():
        np.testing.assert_allclose(ablation[order]["score"], curve, rtol=1e-10)
        np.testing.assert_allclose(case.arrays[f"ablation/{method}/{order}"][number], [first, *curve], rtol=1e-6)
    if case.measure == "accuracy":
        np.testing.assert_allclose(ablation["most"]["accuracy"], cluster.deleted(most, cluster.measured), rtol=1e-12)
        np.testing.assert_allclose(ablation["least"]["accuracy"], cluster.deleted(least, cluster.measured), rtol=1e-12)
        np.testing.assert_allclose(ablation["keep"]["accuracy"], cluster.kept(most, cluster.measured), rtol=1e-12)
    _same(ablation["most"]["area"], cluster.share(cluster.drop(most)))
    _same(ablation["least"]["area"], cluster.share(cluster.drop(least)))
    _same(ablation["srg"], cluster.share(cluster.drop(most) - cluster.drop(least)))
    lost = cluster.share(cluster.loss(most))
    _same(ablation["keep_area"], None if lost is None else 1 - lost)
    assert ablation["units_for_90"] == cluster.units_for_90(most)


def _assert_p_values(case: Case, number: int, cluster: PlainCluster, method: str) -> None:
    """The p-values of one cluster, against the random orders."""
    importance = case.importance(method, number)
    most, least = np.argsort(-importance).tolist(), np.argsort(np.abs(importance)).tolist()
    orders = [order_of(sigma) for sigma in case.sigmas()]
    drops, losses = [cluster.drop(order) for order in orders], [cluster.loss(order) for order in orders]
    ablation = _ablation(case, method, number)

    assert ablation["p_value"] == share_above(cluster.drop(most), drops)
    assert ablation["p_worse"] == share_below(cluster.drop(most), drops)
    assert ablation["least"]["p_value"] == share_below(cluster.drop(least), drops)
    assert ablation["keep"]["p_value"] == share_below(cluster.loss(most), losses)


def _assert_families(case: Case, clusters: list[PlainCluster]) -> None:
    """The p-values over several clusters and rankings, against the relabelled controls."""
    sums = {}
    for method in METHODS:
        drops, p_values = [], []
        for number, cluster in enumerate(clusters[:3]):
            most = np.argsort(-case.importance(method, number)).tolist()
            drops.append([cluster.drop(order) for order in [most, *(relabelled(most, sigma) for sigma in case.sigmas())]])
            p_values.append(_ablation(case, method, number)["p_value"])
        z = [standardised(values) for values in drops]
        sums[method] = [sum(values) for values in zip(*z, strict=True)]
        # Cluster c has one test example: the cluster counts in the sum and for Holm, and not in the
        # step-down.
        family = [max(p, corrected) for p, corrected in zip(p_values, step_down(z[:2]), strict=False)]
        assert [_ablation(case, method, number)["p_family"] for number in range(4)] == [*family, None, None]
        assert [_ablation(case, method, number)["p_holm"] for number in range(4)] == [*holm(p_values), None]
        overall = _ranking(case, method)["overall"]
        assert overall["p_value"] == share_above(sums[method][0], sums[method][1:])
        assert overall["p_worse"] == share_below(sums[method][0], sums[method][1:])
        totals = [(values[0], cluster.total) for values, cluster in zip(drops, clusters, strict=False) if cluster.total is not None]
        _same(overall["area"], sum(drop for drop, _ in totals) / sum(total for _, total in totals) if totals else None)
    better = step_down([standardised(sums[method]) for method in FAMILY])
    worse = step_down([[-value for value in standardised(sums[method])] for method in FAMILY])
    overall = [_ranking(case, method)["overall"] for method in METHODS]
    assert [each["p_family"] for each in overall] == [*better, None]
    assert [each["p_family_worse"] for each in overall] == [*worse, None]
    decisive = [(each["p_family"] or each["p_value"], each["p_family_worse"] or each["p_worse"]) for each in overall]
    verdicts = [_verdict(*each) for each in decisive]
    assert [each["verdict"] for each in overall] == verdicts


def _assert_differences(case: Case, clusters: list[PlainCluster]) -> None:
    """The comparison of the two rankings, and which one is ahead."""
    usable = [number for number, cluster in enumerate(clusters[:2]) if cluster.total is not None]
    (comparison,) = case.summary["comparisons"]
    assert (comparison["a"], comparison["b"]) == tuple(FAMILY)
    if not usable:
        assert set(comparison.values()) == {*FAMILY, None}
        return
    orders = {method: [np.argsort(-case.importance(method, number)).tolist() for number in usable] for method in FAMILY}
    chosen = [clusters[number] for number in usable]
    drops, losses = (
        [
            [
                float(np.mean(a)) - float(np.mean(b))
                for a, b in zip(falls(cluster, orders[first][number]), falls(cluster, orders[second][number]), strict=True)
            ]
            for number, cluster in enumerate(chosen)
        ]
        for falls, (first, second) in ((PlainCluster.drops, FAMILY), (PlainCluster.losses, FAMILY[::-1]))
    )
    ahead = lead(chosen, drops, LEVEL)
    for name, expected in (("", ahead), ("keep_", lead(chosen, losses, LEVEL))):
        for field, value in (("difference", expected.value), ("low", expected.low), ("high", expected.high)):
            _same(comparison[f"{name}{field}"], value)
    noise = {}
    for method in FAMILY:
        areas = [
            [cluster.share(cluster.drop(relabelled(orders[method][number], sigma))) for sigma in case.sigmas()]
            for number, cluster in enumerate(chosen)
        ]
        noise[method] = float(np.std(np.mean(np.array(areas, dtype=float), axis=0)))
    better = [_ranking(case, method)["overall"]["verdict"] == "better_than_random" for method in FAMILY]
    if better[0] and ahead.low > noise[FAMILY[0]]:
        assert comparison["ahead"] == "a"
    else:
        assert comparison["ahead"] == ("b" if better[1] and -ahead.high > noise[FAMILY[1]] else None)


def _assert_other_examples(case: Case, clusters: list[PlainCluster], method: str) -> None:
    """The p-value of the lead over random orders, with the examples as a sample."""
    leads, controls = [], []
    for number, cluster in enumerate(clusters[:3]):
        most = np.argsort(-case.importance(method, number)).tolist()
        falls = [np.mean(cluster.drops(order_of(sigma)), axis=1) for sigma in case.sigmas()]
        leads.append((np.mean(cluster.drops(most), axis=1) - np.mean(falls, axis=0)).tolist())
        controls.append([cluster.drop(relabelled(most, sigma)) for sigma in case.sigmas()])
    _same(case.p_values_of_examples[METHODS.index(method)], plain_p_other_examples(leads, controls))


def _assert_specificity(case: Case, clusters: list[PlainCluster], method: str) -> None:
    """Each cluster's order on the examples of each cluster."""
    specificity = _ranking(case, method)["specificity"]
    usable = [number for number, cluster in enumerate(clusters) if cluster.rows and cluster.total is not None]
    areas: dict[tuple[int, int], float] = {}
    for row in usable:
        order = np.argsort(-case.importance(method, row)).tolist()
        for column in usable:
            areas[row, column] = clusters[column].drop(order) / (clusters[column].total or np.nan)
    for row in range(len(MEMBERS)):
        for column in range(len(MEMBERS)):
            _same(specificity["matrix"][row][column], areas.get((row, column)))
    names, others = list(MEMBERS), len(usable) - 1
    expected = {
        names[a]: areas[a, a] - sum(areas[b, a] for b in usable if b != a) / others for a in usable if others
    }  # fmt: skip
    assert specificity["selectivity"] == pytest.approx(expected)
    assert specificity["overall_p_value"] is None


def _assert_removable(case: Case, clusters: list[PlainCluster], method: str) -> None:
    """How many units can be replaced in the order `least` without wrong answers."""
    wrong, examples = np.zeros(len(COUNTS), dtype=int), 0
    for number, cluster in enumerate(clusters[:3]):
        least = np.argsort(np.abs(case.importance(method, number))).tolist()
        newly_wrong = [
            sum(case.is_right(row, []) and not case.is_right(row, least[:count]) for row in cluster.rows) for count in COUNTS
        ]
        expected = removable_at(COUNTS, newly_wrong, len(cluster.rows), LEVEL, TOLERANCE)
        assert _ablation(case, method, number)["removable_at"] == expected
        wrong, examples = wrong + newly_wrong, examples + len(cluster.rows)
    assert _ranking(case, method)["overall"]["removable_at"] == removable_at(COUNTS, wrong.tolist(), examples, LEVEL, TOLERANCE)


def _verdict(better: float, worse: float) -> str:
    if better <= 1 - LEVEL + 1e-9:
        return "better_than_random"
    return "worse_than_random" if worse <= 1 - LEVEL + 1e-9 else "no_better_than_random"


def _ranking(case: Case, method: str) -> dict[str, Any]:
    ranking: dict[str, Any] = case.summary["rankings"][METHODS.index(method)]
    return ranking


def _ablation(case: Case, method: str, cluster: int) -> dict[str, Any]:
    ablation: dict[str, Any] = _ranking(case, method)["clusters"][list(MEMBERS)[cluster]]["ablation"]
    return ablation


def _partner(context: JobContext, row: int) -> int:
    """Draw another row of the job: the drawn number counts the other rows in ascending order."""
    candidates = [candidate for candidate in context.all_rows().tolist() if candidate != row]
    return int(candidates[int(context.streams.generator("resample", row).integers(len(candidates)))])


def _same(number: float | None, expected: float | None) -> None:
    assert (number is None) == (expected is None)
    if expected is not None:
        assert number == pytest.approx(expected, rel=1e-9, abs=1e-12)
