"""The ablation study: each ranking against random orders, cluster by cluster and over all."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch

from api_schemas.ablation import Ablation, Fill
from api_schemas.results import AblationResult, Band, Control, Curve, Overall
from worker.ablation.curves import STAGE, Curves, Means, Tests
from worker.ablation.nested import Nested
from worker.ablation.orders import Orders, counts_of
from worker.ablation.verdict import Chance, area, chance, decidable, drop, holm, overall
from worker.errors import EngineError
from worker.fills import Fills
from worker.work import Work


@dataclass(frozen=True)
class Tested:
    """One cluster with one fill: mean scores by order (rows) and count (columns); NaN where nothing was tested."""

    examples: int
    none: float
    everything: float
    magnitude: float
    score: np.ndarray
    right: np.ndarray | None
    names: list[str]

    def rows(self, name: str) -> np.ndarray:
        return np.asarray(self.score[self.names.index(name)])

    def rights(self, name: str) -> np.ndarray | None:
        return None if self.right is None else self.right[self.names.index(name)]

    @property
    def random(self) -> np.ndarray:
        return self.score[[name == "random" for name in self.names]]

    @property
    def random_right(self) -> np.ndarray | None:
        return None if self.right is None else self.right[[name == "random" for name in self.names]]

    def has(self, name: str) -> bool:
        """Whether the order was asked for, and tested on any example at any count."""
        return self.examples > 0 and name in self.names and self.score.shape[1] > 0

    def drop(self, name: str) -> float:
        return float(drop(self.none, self.rows(name)))

    def area(self, value: float) -> float | None:
        return area(value, self.none, self.everything, self.magnitude)


@dataclass
class RankingStudy:
    """What the study says of one ranking."""

    clusters: list[AblationResult]
    overall: Overall
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    differs: list[int | None] = field(default_factory=list)
    """Clusters whose verdict another fill changes; None stands for the overall one."""
    seconds: float = 0.0


class Study:
    """Tests the rankings of a job. `importance[id][cluster]` is what the ranking side of the cluster gave."""

    def __init__(self, work: Work, request: Ablation, fills: Fills, batch: int) -> None:
        self.work = work
        self.request = request
        self.fills = fills
        self.batch = batch
        self.counts, self.fractions = counts_of(request.fractions, work.units.count)
        self.orders = Orders(work.units.count, work.streams)
        self._nested = Nested.of(work, self.counts)
        self._curves = Curves(work, batch, self._nested)
        self._random = [self.orders.random(number) for number in range(request.random)]
        judged = "most" in request.orders and request.random > 0 and bool(self.counts)
        differs = request.check_fill != request.fill and len(work.all_rows()) > 1
        self._check = request.check_fill if judged and differs else None

    def plan(self, rankings: int) -> None:
        """Announces the stage; a row is one pass through the tail."""
        masks = 2 + len(self.counts) * (self.request.random + 1 + rankings * len(self.request.orders))
        if self._check:
            masks += 2 + len(self.counts) * (self.request.random + rankings)
        tests = sum(len(halves.tested) for halves in self.work.halves)
        self.work.meter.plan(STAGE, tests * masks if self.counts else 0, self.work.split.tail_cost)

    def run(self, importance: dict[str, list[np.ndarray]]) -> tuple[dict[str, RankingStudy], np.ndarray]:
        """Each ranking's study, and the random curves `[clusters, random, counts + 1]`."""
        began = perf_counter()
        tested, checked = [], []
        for cluster in range(len(self.work.clusters)):
            of_cluster = {name: values[cluster] for name, values in importance.items()}
            tested.append(self._test(cluster, self.request.fill, of_cluster))
            if self._check:
                checked.append(self._checked(cluster, self._check, of_cluster))
        studies = {name: self._judge(name, tested) for name in importance}
        for study in studies.values():
            # the controls serve all rankings alike
            study.seconds = (perf_counter() - began) / len(studies)
        if checked:
            for name, study in studies.items():
                study.differs = _differences(study, self._judge(name, checked))
        return studies, np.stack([_with_none(test, test.random) for test in tested])

    def _checked(self, cluster: int, fill: Fill, importance: dict[str, np.ndarray]) -> Tested:
        """The same with the other fill."""
        try:
            return self._test(cluster, fill, importance, only_most=True)
        except EngineError as error:
            raise EngineError(error.code, f"with `check_fill: {fill}` {error.detail}, or `check_fill: null`") from error

    def _test(self, cluster: int, fill: Fill, importance: dict[str, np.ndarray], *, only_most: bool = False) -> Tested:
        """Runs all orders on the cluster's test examples."""
        label = self.work.clusters[cluster].name
        names, positions = ["random"] * len(self._random), list(self._random)
        if not only_most:
            names.append("activity")
            positions.append(self.orders.most(self._activity(cluster, fill), label))
        wanted = [order for order in self.request.orders if order == "most" or not only_most]
        for order in dict.fromkeys(wanted):
            for ranking, values in importance.items():
                names.append(f"{order}/{ranking}")
                positions.append(getattr(self.orders, order)(values, label))
        return self._run(cluster, fill, names, positions)

    def _run(self, cluster: int, fill: Fill, names: list[str], positions: list[np.ndarray]) -> Tested:
        orders, columns = len(positions), len(self.counts)
        means = Means.empty(orders * columns + 2)
        for tests in self._tests(cluster, fill):
            self._curves.add(means, tests, np.stack(positions), self.counts, len(self._random))
        count = means.examples or np.nan
        score, right = means.score / count, None if means.right is None else means.right / count
        return Tested(
            examples=means.examples,
            none=float(score[0]),
            everything=float(score[1]),
            magnitude=means.magnitude / count,
            score=score[2:].reshape(orders, columns),
            right=None if right is None else right[2:].reshape(orders, columns),
            names=names,
        )

    def _tests(self, cluster: int, fill: Fill) -> Iterator[Tests]:
        """The cluster's test examples in batches."""
        work = self.work
        rows = work.clusters[cluster].rows[work.halves[cluster].tested]
        for start in range(0, len(rows), self.batch):
            chosen = rows[start : start + self.batch]
            x = work.examples.inputs(chosen)
            h, live = work.split.head(x)
            with torch.no_grad():
                fixed = work.fix(work.split.tail(h, live), chosen)
            work.cost.forward_rows += len(chosen)
            behind = self._nested.at(x) if self._nested else None
            yield Tests(h, live, fixed, work.examples.labels(chosen), self.fills.of(fill, chosen, cluster, x), behind)

    def _activity(self, cluster: int, fill: Fill) -> np.ndarray:
        """Mean |h − fill| of each unit over the examples that rank: which units are active at all."""
        work, halves = self.work, self.work.halves[cluster]
        rows = work.clusters[cluster].rows
        rows = rows if halves.in_sample else rows[halves.sides == 0]
        total = torch.zeros(work.units.count, dtype=torch.float64, device=work.device)
        for start in range(0, len(rows), self.batch):
            chosen = rows[start : start + self.batch]
            x = work.examples.inputs(chosen)
            difference = (work.split.head(x)[0] - self.fills.of(fill, chosen, cluster, x)).abs()
            total += work.units.reduce(difference).double().sum(0)
            work.cost.forward_rows += len(chosen)
        return np.asarray((total / len(rows)).cpu().numpy())

    def _judge(self, name: str, tested: list[Tested]) -> RankingStudy:
        """Verdicts of one ranking from what was measured."""
        request, most = self.request, f"most/{name}"
        drops = [(test.drop(most), drop(test.none, test.random)) if test.has(most) and request.random else None for test in tested]
        chances = [chance(*each, request.level) if each else None for each in drops]
        corrected = holm([found.p_value if found else None for found in chances])
        clusters = [self._result(name, *each) for each in zip(tested, chances, corrected, strict=True)]
        study = RankingStudy(clusters, self._overall([each for each in drops if each], sum(test.examples for test in tested)))
        for order in request.orders:
            if all(f"{order}/{name}" in test.names for test in tested):
                study.arrays[order] = np.stack([_with_none(test, test.rows(f"{order}/{name}")) for test in tested])
        return study

    def _decidable(self, examples: int) -> bool:
        return decidable(self.work.units.count, self.counts, self.request.random, self.request.level, examples)

    def _overall(self, drops: list[tuple[float, np.ndarray]], examples: int) -> Overall:
        """Over all clusters that were tested, those too that are undecided by themselves."""
        if not drops:
            return Overall(verdict="undecided")
        own, random = zip(*drops, strict=True)
        found = overall(np.array(own), np.stack(random), self.request.level)
        verdict = found.verdict if self._decidable(examples) else "undecided"
        return Overall(p_value=found.p_value, p_worse=found.p_worse, verdict=verdict)

    def _result(self, name: str, test: Tested, found: Chance | None, p_holm: float | None) -> AblationResult:
        return AblationResult(
            counts=self.counts,
            fractions=self.fractions,
            most=_curve(test, f"most/{name}"),
            least=_curve(test, f"least/{name}"),
            random=_control(test, self.request.level) if test.has("random") else None,
            activity_area=test.area(test.drop("activity")) if test.has("activity") else None,
            p_value=found.p_value if found else None,
            p_worse=found.p_worse if found else None,
            p_holm=p_holm,
            verdict=found.verdict if found and self._decidable(test.examples) else "undecided",
        )


def _curve(test: Tested, name: str) -> Curve | None:
    if not test.has(name):
        return None
    rights = test.rights(name)
    return Curve(
        score=test.rows(name).tolist(),
        accuracy=None if rights is None else rights.tolist(),
        area=test.area(test.drop(name)),
    )


def _control(test: Tested, level: float) -> Control:
    areas = [test.area(float(value)) for value in drop(test.none, test.random)]
    known = [value for value in areas if value is not None]
    return Control(
        score=_band(test.random, level),
        accuracy=None if test.random_right is None else _band(test.random_right, level),
        area=float(np.mean(known)) if known else None,
    )


def _band(curves: np.ndarray, level: float) -> Band:
    """Mean and central range over orders, count by count."""
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(mean=curves.mean(0).tolist(), low=low.tolist(), high=high.tolist())


def _with_none(test: Tested, curves: np.ndarray) -> np.ndarray:
    """Curves with the unaltered score in front."""
    front = np.full((*curves.shape[:-1], 1), test.none)
    return np.concatenate([front, curves], axis=-1)


def _differences(study: RankingStudy, other: RankingStudy) -> list[int | None]:
    changed: list[int | None] = [
        index for index, (one, two) in enumerate(zip(study.clusters, other.clusters, strict=True)) if one.verdict != two.verdict
    ]
    return changed + ([None] if study.overall.verdict != other.overall.verdict else [])
