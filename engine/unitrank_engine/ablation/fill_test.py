"""All clusters tested with one fill: the controls, and each ranking against them; what parts hold is not run again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

from unitrank_engine.ablation.curves import ClusterTest, Curves, Masks, Ran
from unitrank_engine.ablation.orders import Orders
from unitrank_engine.ablation.verdict import area, drop
from unitrank_engine.job.fills import Fills
from unitrank_engine.reuse.fingerprints import Shelf, digest, usable
from unitrank_schemas.ablation import Ablation, Fill
from unitrank_tables.part import Part

Importance = Mapping[str, list[np.ndarray]]
"""Of each ranking what the ranking side of each cluster gave."""


@dataclass(frozen=True)
class TestedCluster:
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


@dataclass(frozen=True)
class Controls:
    """What the controls of one cluster gave, batch by batch, and the order by activity where it is one of them."""

    batches: list[Ran]
    activity: np.ndarray | None


class FillTest:
    """The clusters with one fill. `only_most`: no other order of the rankings, and not the one by activity."""

    def __init__(
        self, request: Ablation, fill: Fill, fills: Fills, curves: Curves, orders: Orders, shelf: Shelf, *, only_most: bool = False
    ) -> None:
        self.context = fills.context
        self.fill = fill
        self.fills = fills
        self.curves = curves
        self.orders = orders
        self.counts = curves.counts
        self.batch = fills.batch
        self.only_most = only_most
        self.wanted = [order for order in dict.fromkeys(request.orders) if order == "most" or not only_most]
        self._random = [orders.random(number) for number in range(request.random)]
        self._shelf = shelf
        self._known: list[Controls] | None = usable(shelf.find([self._print]).get(self._print), self._controls_of)
        self._made: list[Controls] = []
        self._ran: dict[str, list[Ran]] = {}
        self._kept: dict[str, list[Ran]] = {}

    @property
    def controls_known(self) -> bool:
        return self._known is not None

    def masks(self, rankings: int) -> int:
        """That are to be run on a test example, where so many rankings are."""
        controls = 0 if self.controls_known else 2 + len(self.counts) * (len(self._random) + (not self.only_most))
        return controls + len(self.counts) * rankings * len(self.wanted)

    def look(self, importance: Importance) -> list[str]:
        """The rankings that need not be run."""
        prints = {name: self._print_of(values) for name, values in importance.items()}
        found = self._shelf.find(dict.fromkeys(prints.values()))
        for name, print_ in prints.items():
            kept = usable(found.get(print_), self._ranking_of)
            if kept is not None:
                self._kept[name] = kept
        return list(self._kept)

    def run(self, cluster: int, importance: Importance) -> TestedCluster:
        """Runs what is not known on the cluster's test examples."""
        own = {name: self._positions(cluster, values[cluster]) for name, values in importance.items() if name not in self._kept}
        controls = self._known[cluster] if self._known else None
        if controls is None or own:
            controls, ran = self._run(cluster, controls, own)
            for name, one in ran.items():
                self._ran.setdefault(name, []).append(one)
        self._made.append(controls)
        of_rankings = {name: (self._kept.get(name) or self._ran[name])[cluster] for name in importance}
        return self._tested(cluster, controls, of_rankings)

    def keep(self, importance: Importance) -> None:
        """What was run on all clusters, for later jobs; nothing of passes that other jobs would not make the same."""
        if self.curves.halvings:
            return
        parts = {self._print_of(importance[name]): _of_ranking(ran) for name, ran in self._ran.items()}
        self._shelf.keep(parts if self.controls_known else parts | {self._print: _of_controls(self._made)})

    def _run(self, cluster: int, known: Controls | None, own: dict[str, np.ndarray]) -> tuple[Controls, dict[str, Ran]]:
        activity = known.activity if known else self._activity_order(cluster)
        controls = np.stack([*self._random, *([] if activity is None else [activity])])
        batches: list[Ran] = []
        ran: dict[str, list[Ran]] = {name: [] for name in own}
        for tests in self._tests(cluster):
            masks = Masks(self.curves, tests, controls, len(self._random))
            batches.append(known.batches[len(batches)] if known else masks.controls())
            for name, positions in own.items():
                ran[name].append(masks.ranking(positions, batches[-1]))
        columns = len(self.wanted) * len(self.counts)
        return Controls(batches, activity), {name: _together(each, columns) for name, each in ran.items()}

    def _positions(self, cluster: int, importance: np.ndarray) -> np.ndarray:
        """The ranking's orders as positions, one a row."""
        label = self.context.clusters[cluster].name
        made = [getattr(self.orders, order)(importance, label) for order in self.wanted]
        return np.stack(made) if made else np.zeros((0, self.context.units.count), np.int32)

    def _activity_order(self, cluster: int) -> np.ndarray | None:
        return None if self.only_most else self.orders.most(self._activity(cluster), self.context.clusters[cluster].name)

    def _tested(self, cluster: int, controls: Controls, rankings: Mapping[str, Ran]) -> TestedCluster:
        orders = len(self._random) + (controls.activity is not None)
        columns, examples = len(self.counts), len(self.context.halves[cluster].tested)
        every = _together(controls.batches, 2 + orders * columns)
        count = examples or np.nan
        names = ["random"] * len(self._random) + ["activity"] * (orders - len(self._random))
        names += [f"{order}/{name}" for name in rankings for order in self.wanted]
        score = np.concatenate([every.score[2:], *(ran.score for ran in rankings.values())]) / count
        rights = [None if every.right is None else every.right[2:], *(ran.right for ran in rankings.values())]
        known = [right for right in rights if right is not None]
        return TestedCluster(
            examples=examples,
            none=float(every.score[0] / count),
            everything=float(every.score[1] / count),
            magnitude=every.magnitude / count,
            score=score.reshape(len(names), columns),
            right=(np.concatenate(known) / count).reshape(len(names), columns) if len(known) == len(rights) else None,
            names=names,
        )

    def _tests(self, cluster: int) -> Iterator[ClusterTest]:
        """The cluster's test examples in batches."""
        context, nested = self.context, self.curves.nested
        rows = context.clusters[cluster].rows[context.halves[cluster].tested]
        for start in range(0, len(rows), self.batch):
            chosen = rows[start : start + self.batch]
            x = context.examples.inputs(chosen)
            h, live = context.split.head(x)
            with torch.no_grad():
                fixed = context.fix(context.split.tail(h, live), chosen)
            context.cost.forward_rows += len(chosen)
            behind = nested.at(x) if nested else None
            yield ClusterTest(h, live, fixed, context.examples.labels(chosen), self.fills.of(self.fill, chosen, cluster, x), behind)

    def _activity(self, cluster: int) -> np.ndarray:
        """Mean |h − fill| of each unit over the examples that rank: which units are active at all."""
        context, halves = self.context, self.context.halves[cluster]
        rows = context.clusters[cluster].rows
        rows = rows if halves.in_sample else rows[halves.sides == 0]
        total = torch.zeros(context.units.count, dtype=torch.float64, device=context.device)
        for start in range(0, len(rows), self.batch):
            chosen = rows[start : start + self.batch]
            x = context.examples.inputs(chosen)
            difference = (context.split.head(x)[0] - self.fills.of(self.fill, chosen, cluster, x)).abs()
            total += context.units.reduce(difference).double().sum(0)
            context.cost.forward_rows += len(chosen)
        return np.asarray((total / len(rows)).cpu().numpy())

    @cached_property
    def _print(self) -> str:
        """Of the controls: what they are tested on, with which fill, and where the curves are read."""
        tested = [[digest(halves.tested), halves.in_sample] for halves in self.context.halves]
        return self._shelf.fingerprint("controls", tested, self.fill, self.counts, len(self._random), self.only_most)

    def _print_of(self, importance: list[np.ndarray]) -> str:
        """Of a ranking: its orders follow from its importance, whatever it is called and made by."""
        return self._shelf.fingerprint("ablation", self._print, self.wanted, digest(*importance))

    @cached_property
    def _batches(self) -> list[int]:
        """Of each cluster into how many batches its test examples fall."""
        return [-(-len(halves.tested) // self.batch) for halves in self.context.halves]

    def _controls_of(self, part: Part) -> list[Controls]:
        arrays, bounds = part.arrays, np.cumsum([0, *self._batches]).tolist()
        columns = 2 + len(self.counts) * (len(self._random) + (not self.only_most))
        score = _shaped(arrays["score"], bounds[-1], columns)
        activity = None if self.only_most else _shaped(arrays["activity"], len(self._batches), self.context.units.count)
        batches = [
            Ran(row, arrays["right"][index] if "right" in arrays else None, float(arrays["magnitude"][index]))
            for index, row in enumerate(score)
        ]
        return [
            Controls(batches[first:stop], None if activity is None else activity[cluster])
            for cluster, (first, stop) in enumerate(pairwise(bounds))
        ]

    def _ranking_of(self, part: Part) -> list[Ran]:
        arrays = part.arrays
        score = _shaped(arrays["score"], len(self._batches), len(self.wanted) * len(self.counts))
        return [Ran(row, arrays["right"][index] if "right" in arrays else None) for index, row in enumerate(score)]


def _together(batches: list[Ran], masks: int) -> Ran:
    """The sums over all batches; of none they are zero."""
    score, right, magnitude = np.zeros(masks), np.zeros(masks), 0.0
    for ran in batches:
        score += ran.score
        magnitude += ran.magnitude
        if ran.right is not None:
            right += ran.right
    return Ran(score, None if any(ran.right is None for ran in batches) else right, magnitude)


def _shaped(array: np.ndarray, *shape: int) -> np.ndarray:
    """Raises ValueError for an array of another shape."""
    if array.shape != shape:
        raise ValueError(f"an array of shape {shape} is {array.shape}")
    return array


def _of_controls(controls: list[Controls]) -> Part:
    batches = [ran for each in controls for ran in each.batches]
    arrays = _of_runs(batches, len(batches)) | {"magnitude": np.array([ran.magnitude for ran in batches])}
    activity = [each.activity for each in controls if each.activity is not None]
    return Part(arrays | ({"activity": np.stack(activity)} if activity else {}))


def _of_ranking(clusters: list[Ran]) -> Part:
    return Part(_of_runs(clusters, len(clusters)))


def _of_runs(runs: list[Ran], count: int) -> dict[str, np.ndarray]:
    rights = [ran.right for ran in runs if ran.right is not None]
    arrays = {"score": np.stack([ran.score for ran in runs]) if runs else np.zeros((0, 0))}
    return arrays | ({"right": np.stack(rights)} if rights and len(rights) == count else {})
