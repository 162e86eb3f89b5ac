"""A fill test that runs only the controls and rankings that no earlier job left in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from unitrank_engine.ablation.masks.fill_test import FillTest, Importance
from unitrank_engine.ablation.masks.mask_runner import MaskSums
from unitrank_engine.ablation.masks.runs import ClusterRuns, Controls, RankingRuns
from unitrank_engine.ablation.masks.tested import TestedCluster
from unitrank_engine.reuse.fingerprints import digest
from unitrank_engine.reuse.parts import JobParts, read_part
from unitrank_schemas.base import Fill
from unitrank_schemas.jobs.study_plan import StudyPlan
from unitrank_tables.part import Part


class CachedFillTest:
    """Wraps a fill test. Call `find` first, then `run`, then `keep`.

    `controls`: each cluster's controls where another test of the same job has run them.
    """

    def __init__(self, test: FillTest, parts: JobParts, controls: Sequence[Controls] = ()) -> None:
        self.test = test
        self.parts = parts
        stored = None if controls else read_part(parts.find([self._controls_key]).get(self._controls_key), self._controls_from)
        self.reuses_controls = stored is not None
        """Whether the controls' sums come from an earlier job."""
        self.controls: list[Controls] = stored or list(controls)
        """The controls' sums of each cluster; empty before `run` where no job has run them."""
        self._keeps_controls = not self.controls
        self._earlier: dict[str, list[RankingRuns]] = {}
        """Ranking's id → the sums of each cluster from an earlier job."""
        self._rankings: dict[str, list[RankingRuns]] = {}
        """Ranking's id → the sums of each cluster from this job."""

    @property
    def fill(self) -> Fill:
        return self.test.fill

    @property
    def plan(self) -> StudyPlan:
        return self.test.plan

    def masks(self, rankings: int) -> int:
        """Return how many masks run on each test example for this number of rankings.

        The controls that several classes share are not among them.
        """
        shared = self.test.context.target_class is not None
        return self.plan.masks(rankings, controls=not (shared or self.reuses_controls))

    def find(self, importance: Importance) -> set[str]:
        """Look the rankings up in the store; return the ids that an earlier job has tested."""
        keys = {name: self._ranking_key(values) for name, values in importance.items()}
        parts = self.parts.find(dict.fromkeys(keys.values()))
        for name, key in keys.items():
            sums = read_part(parts.get(key), self._ranking_from)
            if sums is not None:
                self._earlier[name] = sums
        return set(self._earlier)

    def run(self, importance: Importance) -> list[TestedCluster]:
        """As `FillTest.run`."""
        fresh = {name: values for name, values in importance.items() if name not in self._earlier}
        if fresh or not self.controls:
            runs = self.test.runs(fresh, self.controls)
            self.controls = [each.controls for each in runs]
            self._rankings = {name: [each.rankings[name] for each in runs] for name in fresh}
        of_rankings = {name: self._earlier.get(name) or self._rankings[name] for name in importance}
        return self.test.tested(
            importance,
            [
                ClusterRuns(controls, {name: of_clusters[cluster] for name, of_clusters in of_rankings.items()})
                for cluster, controls in enumerate(self.controls)
            ],
        )

    def keep(self, importance: Importance) -> None:
        """Put the sums of all clusters into the store for later jobs.

        Nothing is stored where memory ran out, because smaller passes round differently.
        """
        if self.test.runner.halved:
            return
        parts = {self._ranking_key(importance[name]): _part_of_ranking(sums) for name, sums in self._rankings.items()}
        if self._keeps_controls:
            parts[self._controls_key] = _part_of_controls(self.controls)
        self.parts.keep(parts)

    @cached_property
    def _controls_key(self) -> str:
        """Fingerprint of the controls: by test examples, fill, counts and random orders."""
        test = self.test
        tested = [[digest(halves.tested), halves.in_sample] for halves in test.context.halves]
        plan = test.plan
        shape = [plan.random, plan.keep, plan.activity]
        return self.parts.fingerprint("controls", tested, test.fill, test.counts, test.runner.measure, shape)

    def _ranking_key(self, importance: list[np.ndarray]) -> str:
        """Fingerprint of a ranking's test: by its importance, and not by its id or method."""
        return self.parts.fingerprint("ablation", self._controls_key, self._shape, digest(*importance))

    @cached_property
    def _batches(self) -> list[int]:
        """Number of batches of each cluster's test examples."""
        return [-(-len(halves.tested) // self.test.batch) for halves in self.test.context.halves]

    @property
    def _shape(self) -> list[object]:
        """The masks of a ranking."""
        return [self.plan.orders, self.plan.relabelled, self.plan.clusters]

    def _controls_from(self, part: Part) -> list[Controls]:
        plan, arrays, bounds = self.plan, part.arrays, np.cumsum([0, *self._batches]).tolist()
        batches, examples = bounds[-1], self._examples
        activity = _shaped(arrays["activity"], len(self._batches), self.test.context.units.count) if plan.activity else None
        sums = _sums(arrays, "", batches, 2 + plan.counts * plan.shared)
        values = np.split(_shaped(arrays["values"], 3, sum(examples)), self._batch_ends, axis=1)
        magnitude = _shaped(arrays["magnitude"], batches)
        sums = [replace(each, magnitude=float(magnitude[n]), values=values[n]) for n, each in enumerate(sums)]
        keep = _sums(arrays, "keep_", batches, 2 + plan.counts * plan.random) if plan.keep else []
        return [
            Controls(sums[first:stop], keep[first:stop], None if activity is None else activity[cluster])
            for cluster, (first, stop) in enumerate(pairwise(bounds))
        ]

    def _ranking_from(self, part: Part) -> list[RankingRuns]:
        plan, arrays, clusters = self.plan, part.arrays, len(self._batches)
        ends = np.cumsum(self._examples)[:-1]
        masks = _sums(arrays, "", clusters, plan.counts * (plan.own + plan.relabelled))
        values = np.split(_shaped(arrays["values"], plan.own, sum(self._examples)), ends, axis=1)
        wrong = _shaped(arrays["newly_wrong"], clusters, plan.counts * plan.own) if "newly_wrong" in arrays else [None] * clusters
        runs = [
            RankingRuns(replace(each, values=values[cluster], newly_wrong=wrong[cluster]), None)
            for cluster, each in enumerate(masks)
        ]
        if not plan.keep:
            return runs
        keep = _sums(arrays, "keep_", clusters, plan.counts)
        kept = np.split(_shaped(arrays["keep_values"], 1, sum(self._examples)), ends, axis=1)
        return [replace(each, keep=replace(keep[cluster], values=kept[cluster])) for cluster, each in enumerate(runs)]

    @property
    def _examples(self) -> list[int]:
        """Number of test examples of each cluster."""
        return [len(halves.tested) for halves in self.test.context.halves]

    @property
    def _batch_ends(self) -> list[int]:
        """The number of test examples before each batch but the first."""
        sizes = [min(self.test.batch, size - start) for size in self._examples for start in range(0, size, self.test.batch)]
        return [int(end) for end in np.cumsum(sizes)[:-1]]


def _shaped(array: np.ndarray, *shape: int) -> np.ndarray:
    """Return the array. Raises ValueError where its shape is not `shape`."""
    if array.shape != shape:
        raise ValueError(f"an array of a part has shape {array.shape}: expected {shape}")
    return array


def _sums(arrays: Mapping[str, np.ndarray], prefix: str, rows: int, masks: int) -> list[MaskSums]:
    """Return the sums in these arrays. Raises ValueError where a shape differs."""
    score = _shaped(arrays[f"{prefix}score"], rows, masks)
    right = arrays.get(f"{prefix}right")
    return [MaskSums(row, None if right is None else right[index]) for index, row in enumerate(score)]


def _part_of_controls(controls: list[Controls]) -> Part:
    batches = [sums for each in controls for sums in each.batches]
    keep = [sums for each in controls for sums in each.keep]
    arrays = _arrays_of(batches) | {"magnitude": np.array([sums.magnitude for sums in batches]), "values": _values_of(batches)}
    activity = [each.activity for each in controls if each.activity is not None]
    return Part(arrays | (_arrays_of(keep, "keep_") if keep else {}) | ({"activity": np.stack(activity)} if activity else {}))


def _part_of_ranking(clusters: list[RankingRuns]) -> Part:
    masks, keep = [each.masks for each in clusters], [each.keep for each in clusters if each.keep]
    arrays = _arrays_of(masks) | {"values": _values_of(masks)}
    wrong = [sums.newly_wrong for sums in masks]
    if counts := [each for each in wrong if each is not None]:
        # A cluster without test examples has no counts.
        arrays["newly_wrong"] = np.stack([np.zeros_like(counts[0]) if each is None else each for each in wrong])
    return Part(arrays | (_arrays_of(keep, "keep_") | {"keep_values": _values_of(keep)} if keep else {}))


def _arrays_of(runs: list[MaskSums], prefix: str = "") -> dict[str, np.ndarray]:
    rights = [sums.right for sums in runs if sums.right is not None]
    arrays = {f"{prefix}score": np.stack([sums.score for sums in runs]) if runs else np.zeros((0, 0))}
    return arrays | ({f"{prefix}right": np.stack(rights)} if rights and len(rights) == len(runs) else {})


def _values_of(runs: list[MaskSums]) -> np.ndarray:
    """Return the values of single examples of all runs side by side."""
    values = [sums.values for sums in runs if sums.values is not None]
    return np.concatenate(values, axis=1) if values else np.zeros((0, 0))
