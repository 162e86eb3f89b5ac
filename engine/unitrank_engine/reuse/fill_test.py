"""A fill test that runs only the controls and rankings that no earlier job left in the store."""

from functools import cached_property
from itertools import pairwise

import numpy as np

from unitrank_engine.ablation.curves import MaskSums
from unitrank_engine.ablation.fill_test import ClusterRuns, Controls, FillTest, Importance, TestedCluster
from unitrank_engine.reuse.fingerprints import digest
from unitrank_engine.reuse.parts import JobParts, read_part
from unitrank_schemas.base import Fill
from unitrank_tables.part import Part


class CachedFillTest:
    """Wraps a fill test. Call `find` first, then `run` for each cluster in order, then `keep`."""

    def __init__(self, test: FillTest, parts: JobParts) -> None:
        self.test = test
        self.parts = parts
        self._earlier_controls: list[Controls] | None = read_part(
            parts.find([self._controls_key]).get(self._controls_key), self._controls_from
        )
        self._earlier: dict[str, list[MaskSums]] = {}
        """Ranking's id → the sums of each cluster from an earlier job."""
        self._controls: list[Controls] = []
        self._rankings: dict[str, list[MaskSums]] = {}
        """Ranking's id → the sums of each cluster from this job."""

    @property
    def fill(self) -> Fill:
        return self.test.fill

    @property
    def reuses_controls(self) -> bool:
        """Whether the controls' sums come from an earlier job."""
        return self._earlier_controls is not None

    def masks(self, rankings: int) -> int:
        """Return how many masks run on each test example for this number of rankings."""
        return self.test.masks(rankings, controls=not self.reuses_controls)

    def find(self, importance: Importance) -> set[str]:
        """Look the rankings up in the store; return the ids that an earlier job has tested."""
        keys = {name: self._ranking_key(values) for name, values in importance.items()}
        parts = self.parts.find(dict.fromkeys(keys.values()))
        for name, key in keys.items():
            sums = read_part(parts.get(key), self._ranking_from)
            if sums is not None:
                self._earlier[name] = sums
        return set(self._earlier)

    def run(self, cluster: int, importance: Importance) -> TestedCluster:
        """As `FillTest.run`."""
        fresh = {name: values for name, values in importance.items() if name not in self._earlier}
        controls = self._earlier_controls[cluster] if self._earlier_controls else None
        if controls is None or fresh:
            runs = self.test.runs(cluster, fresh, controls)
            controls = runs.controls
            for name, sums in runs.rankings.items():
                self._rankings.setdefault(name, []).append(sums)
        self._controls.append(controls)
        rankings = {name: (self._earlier.get(name) or self._rankings[name])[cluster] for name in importance}
        return self.test.tested(cluster, ClusterRuns(controls, rankings))

    def keep(self, importance: Importance) -> None:
        """Put the sums of all clusters into the store for later jobs.

        Nothing is stored where memory ran out, because smaller passes round differently.
        """
        if self.test.curves.halvings:
            return
        parts = {self._ranking_key(importance[name]): _part_of_ranking(sums) for name, sums in self._rankings.items()}
        if not self.reuses_controls:
            parts[self._controls_key] = _part_of_controls(self._controls)
        self.parts.keep(parts)

    @cached_property
    def _controls_key(self) -> str:
        """Fingerprint of the controls: by test examples, fill, counts and random orders."""
        test = self.test
        tested = [[digest(halves.tested), halves.in_sample] for halves in test.context.halves]
        return self.parts.fingerprint("controls", tested, test.fill, test.counts, len(test.random), test.only_most)

    def _ranking_key(self, importance: list[np.ndarray]) -> str:
        """Fingerprint of a ranking's test: by its importance, and not by its id or method."""
        return self.parts.fingerprint("ablation", self._controls_key, self.test.order_names, digest(*importance))

    @cached_property
    def _batches(self) -> list[int]:
        """Number of batches of each cluster's test examples."""
        return [-(-len(halves.tested) // self.test.batch) for halves in self.test.context.halves]

    def _controls_from(self, part: Part) -> list[Controls]:
        test, arrays, bounds = self.test, part.arrays, np.cumsum([0, *self._batches]).tolist()
        columns = 2 + len(test.counts) * (len(test.random) + (not test.only_most))
        score = _shaped(arrays["score"], bounds[-1], columns)
        activity = None if test.only_most else _shaped(arrays["activity"], len(self._batches), test.context.units.count)
        batches = [
            MaskSums(row, arrays["right"][index] if "right" in arrays else None, float(arrays["magnitude"][index]))
            for index, row in enumerate(score)
        ]
        return [
            Controls(batches[first:stop], None if activity is None else activity[cluster])
            for cluster, (first, stop) in enumerate(pairwise(bounds))
        ]

    def _ranking_from(self, part: Part) -> list[MaskSums]:
        arrays = part.arrays
        score = _shaped(arrays["score"], len(self._batches), len(self.test.order_names) * len(self.test.counts))
        return [MaskSums(row, arrays["right"][index] if "right" in arrays else None) for index, row in enumerate(score)]


def _shaped(array: np.ndarray, *shape: int) -> np.ndarray:
    """Return the array. Raises ValueError where its shape is not `shape`."""
    if array.shape != shape:
        raise ValueError(f"an array of a part has shape {array.shape}: expected {shape}")
    return array


def _part_of_controls(controls: list[Controls]) -> Part:
    batches = [sums for each in controls for sums in each.batches]
    arrays = _arrays_of(batches) | {"magnitude": np.array([sums.magnitude for sums in batches])}
    activity = [each.activity for each in controls if each.activity is not None]
    return Part(arrays | ({"activity": np.stack(activity)} if activity else {}))


def _part_of_ranking(clusters: list[MaskSums]) -> Part:
    return Part(_arrays_of(clusters))


def _arrays_of(runs: list[MaskSums]) -> dict[str, np.ndarray]:
    rights = [sums.right for sums in runs if sums.right is not None]
    arrays = {"score": np.stack([sums.score for sums in runs]) if runs else np.zeros((0, 0))}
    return arrays | ({"right": np.stack(rights)} if rights and len(rights) == len(runs) else {})
