"""The exact tests of a job: `verify` and `pairs`, with the effects that earlier jobs measured."""

from collections.abc import Callable, Mapping

import numpy as np

from unitrank_engine.ablation.exact.drops import ExactDrops
from unitrank_engine.ablation.exact.pairs import Pairs
from unitrank_engine.ablation.exact.result import ExactResult
from unitrank_engine.ablation.exact.verify import Verification
from unitrank_engine.job.fills import Fills
from unitrank_engine.reuse.fingerprints import digest
from unitrank_engine.reuse.parts import JobParts, read_part
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.results import Verified
from unitrank_tables.part import Part

OfClusters = list[np.ndarray]
"""One array for each cluster."""


class ExactTests:
    """Runs the exact tests, and keeps the effects for later jobs."""

    def __init__(self, parts: JobParts, fills: Fills, request: Ablation) -> None:
        self.parts = parts
        self.context = fills.context
        self.request = request
        self.reused: dict[str, set[str]] = {}
        """Test → ids of the rankings whose effects come from earlier jobs; set by `run`."""
        self._verify = Verification(fills, request.verify, request.fill) if request.verify else None
        self._pairs = Pairs(fills, request.pairs, request.fill) if request.pairs else None

    def plan(self, rankings: int) -> None:
        """Announce the stages' rows for this number of rankings."""
        for test in (self._verify, self._pairs):
            if test:
                test.plan(rankings)

    def run(self, importance: Mapping[str, OfClusters], top: Callable[[str, int], OfClusters]) -> dict[str, ExactResult]:
        """Return each ranking's result.

        `importance`: ranking's id → importance of every unit, from the examples that rank.
        `top`: ranking's id and a number → that many highest units, from all examples.

        Raises EngineError `non_finite`.
        """
        verified: dict[str, list[Verified | None]] = {}
        of_units: dict[str, dict[str, np.ndarray]] = {}
        pairs: dict[str, np.ndarray] = {}
        if self._verify:
            effects = self._measured(self._verify, importance)
            for name, values in importance.items():
                of_clusters = enumerate(zip(values, effects[name], strict=True))
                verified[name] = [self._verify.verified(cluster, *each, self.request.level) for cluster, each in of_clusters]
                units = np.stack([self._verify.units(cluster, each).all for cluster, each in enumerate(values)])
                of_units[name] = {"units": units, "effects": effects[name]}
        if self._pairs:
            count = self._pairs.count
            pairs = self._measured(self._pairs, {name: top(name, count) for name in importance})
        return {name: ExactResult(verified.get(name), pairs.get(name), of_units.get(name)) for name in importance}

    def _measured(self, test: Verification | Pairs, rankings: Mapping[str, OfClusters]) -> dict[str, np.ndarray]:
        """Return the effects of each ranking, from the store or measured now.

        `rankings`: ranking's id → the argument of `test.measure`.
        """
        tested = [digest(halves.tested) for halves in self.context.halves]
        basis = [tested, self.request.fill, test.shape]
        keys = {name: self.parts.fingerprint(test.stage, *basis, digest(*each)) for name, each in rankings.items()}
        stored = self.parts.find(dict.fromkeys(keys.values()))
        effects = {
            name: read_part(stored.get(key), lambda part: _shaped(part.arrays["effects"], test.shape)) for name, key in keys.items()
        }
        self.reused[test.stage] = {name for name, array in effects.items() if array is not None}
        test.plan(len(rankings) - len(self.reused[test.stage]))
        for name in [name for name in rankings if name not in self.reused[test.stage]]:
            effects[name] = test.measure(rankings[name])
            self._keep(test.drops, keys[name], effects[name])
        return effects

    def _keep(self, drops: ExactDrops, key: str, effects: np.ndarray) -> None:
        """Store effects for later jobs, unless memory ran out: smaller passes round differently."""
        if not drops.halved:
            self.parts.keep({key: Part({"effects": effects})})


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array. Raises ValueError where its shape is not `shape`."""
    if array.shape != shape:
        raise ValueError(f"an array of a part has shape {array.shape}: expected {shape}")
    return array
