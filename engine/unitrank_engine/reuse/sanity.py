"""The sanity test of a job: `weights_matter`, with the drops that earlier jobs measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from unitrank_engine.ablation.masks.fill_test import FillTest
from unitrank_engine.ablation.masks.fill_tests import FillTests
from unitrank_engine.ablation.sanity.permuted_scores import ImportanceOf, PermutedScores
from unitrank_engine.ablation.sanity.weights_matter import ClusterDrops, weights_matter
from unitrank_engine.attribution.scores import score_key
from unitrank_engine.job.fills import Fills
from unitrank_engine.reuse.fingerprints import digest
from unitrank_engine.reuse.parts import JobParts, read_part
from unitrank_schemas.jobs.ablation import PERMUTED_MODELS, Ablation
from unitrank_schemas.methods import MethodBase
from unitrank_schemas.results import AblationResult
from unitrank_tables.part import Part

OfClusters = list[np.ndarray]


class Sanity:
    """Tests the rankings of permuted models on the true model, and keeps their drops."""

    def __init__(self, parts: JobParts, fills: Fills, request: Ablation) -> None:
        self.parts = parts
        self.context = fills.context
        self.request = request
        self.reused: set[str] = set()
        """Ids of the rankings whose drops come from an earlier job; set by `run`."""
        self._scores = PermutedScores(fills)
        self._test = _only_most(FillTests.of(request, fills).reversal)

    def plan(self, entries: Sequence[MethodBase]) -> None:
        """Announce the stage's rows for these methods."""
        self._scores.plan(entries if self._is_possible else [])

    def run(
        self,
        entries: Sequence[MethodBase],
        importance: Mapping[str, OfClusters],
        importance_of: ImportanceOf,
        tested: Mapping[str, Sequence[AblationResult]],
    ) -> dict[str, float | None]:
        """Return `weights_matter` of each ranking.

        `importance`: ranking's id → importance of every unit, from the examples that rank.
        `importance_of`: the same for scores of a permuted model.
        `tested`: ranking's id → its test on each cluster.

        Raises EngineError.
        """
        if not self._is_possible:
            return {}
        keys = {str(entry.id): self._key(entry, importance[str(entry.id)]) for entry in entries}
        stored = self.parts.find(dict.fromkeys(keys.values()))
        drops = {name: read_part(stored.get(key), self._drops_from) for name, key in keys.items()}
        self.reused = {name for name, each in drops.items() if each is not None}
        fresh = [entry for entry in entries if entry.id not in self.reused]
        self.plan(fresh)
        if fresh:
            measured = self._measured(fresh, importance, importance_of)
            drops |= measured
            self._keep({keys[name]: each for name, each in measured.items()})
        return {name: weights_matter(each, [_random_area(result) for result in tested[name]]) for name, each in drops.items()}

    @property
    def _is_possible(self) -> bool:
        """Whether there is an order to test, and a permutation changes the tail."""
        return bool(self._test.counts) and self._scores.tail.varies

    def _measured(
        self, entries: Sequence[MethodBase], importance: Mapping[str, OfClusters], importance_of: ImportanceOf
    ) -> dict[str, ClusterDrops]:
        true, totals = self._drops({str(entry.id): importance[str(entry.id)] for entry in entries})
        permuted = [self._drops(each)[0] for each in self._scores.importances(entries, importance_of)]
        return {name: ClusterDrops(true[name], np.stack([each[name] for each in permuted]), totals) for name in true}

    def _drops(self, importance: Mapping[str, OfClusters]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return each ranking's drop on each cluster, and each cluster's drop with all replaced.

        NaN for a cluster without an area.
        """
        tested = self._test.run(importance)
        has_area = [each.examples > 0 and each.has_area for each in tested]
        totals = np.array([each.total if valid else np.nan for each, valid in zip(tested, has_area, strict=True)])
        drops = {
            name: np.array(
                [
                    each.drop(each.rankings[name].orders["most"]) if valid else np.nan
                    for each, valid in zip(tested, has_area, strict=True)
                ]
            )
            for name in importance
        }
        return drops, totals

    def _key(self, entry: MethodBase, importance: OfClusters) -> str:
        """Fingerprint of a ranking's drops: by its method, its importance, and the test."""
        tested = [digest(halves.tested) for halves in self.context.halves]
        test = [tested, self.request.fill, self._test.counts, self.request.measure, PERMUTED_MODELS]
        return self.parts.fingerprint("sanity", test, score_key(entry), entry.statistic, digest(*importance))

    def _keep(self, drops: Mapping[str, ClusterDrops]) -> None:
        """Store drops for later jobs, unless memory ran out: smaller passes round differently."""
        if not (self._scores.halved or self._test.runner.halved):
            arrays = {key: {"true": each.true, "permuted": each.permuted, "totals": each.totals} for key, each in drops.items()}
            self.parts.keep({key: Part(each) for key, each in arrays.items()})

    def _drops_from(self, part: Part) -> ClusterDrops:
        drops, clusters = ClusterDrops(**part.arrays), len(self.context.clusters)
        if (drops.true.shape, drops.permuted.shape, drops.totals.shape) != ((clusters,), (PERMUTED_MODELS, clusters), (clusters,)):
            raise ValueError(f"drops of a part have shapes {drops.true.shape} and {drops.permuted.shape}")
        return drops


def _only_most(test: FillTest) -> FillTest:
    """The fill test with one random order, because the runner needs a control, and no other one."""
    plan = replace(test.plan, orders=("most",), random=1, relabelled=0)
    return FillTest(plan=plan, fill=test.fill, fills=test.fills, runner=test.runner, orders=test.orders)


def _random_area(result: AblationResult) -> float | None:
    return result.random.area if result.random else None
