"""A main pass over all targets that computes only the scores that no earlier job left."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from unitrank_engine.attribution.bootstrap import BYTES, MOST_BYTES, MOST_GROUPS
from unitrank_engine.attribution.fidelity import FidelityObserver
from unitrank_engine.attribution.main_pass import MainPass
from unitrank_engine.attribution.scores import Attribution
from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_engine.program import Split
from unitrank_engine.reuse.target_pass import CachedTargetPass

SUM_BYTES = 512 * 2**20
"""Limit of the values that the targets of one pass keep beside the pass, in bytes.

With more targets, the forward passes run again for the next ones.
"""
KEPT_VALUES = 5
"""Values of each method and element of the place that a target keeps in a pass along a path."""
FLOAT32_BYTES = 4


class CachedMainPass:
    """Runs the passes of all targets, with shared forward passes.

    `targets`: one for each explained class, or the job's only one.
    """

    def __init__(self, targets: Sequence[CachedTargetPass]) -> None:
        self.targets = targets

    def plan(self) -> None:
        """Announce the stage's rows to the progress meter, if there is anything to compute."""
        self._plan([target for target in self.targets if not target.complete])

    def run(self, observers: Sequence[FidelityObserver | None]) -> list[Attribution]:
        """Return the scores of each target.

        `observers`: for each target, gets the drops of its scores, also of those from earlier jobs.
        """
        waiting = []
        for number, target in enumerate(self.targets):
            if target.complete:
                target.finish(None, observers[number], exact=True)
            else:
                waiting.append(number)
        while waiting:
            again = [number for group in self._groups(waiting) for number in self._run(group, observers)]
            self._plan([self.targets[number] for number in again])
            waiting = again
        return [target.attribution for target in self.targets]

    def _plan(self, targets: Sequence[CachedTargetPass]) -> None:
        for together in _by_passes(range(len(targets)), [target.context for target in targets]):
            MainPass([targets[number].target for number in together]).plan()

    def _groups(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        """Split the targets into groups that share their passes and fit in memory together."""
        for together in _by_passes(numbers, [self.targets[number].context for number in numbers]):
            # Targets of several layers share passes only where all fit in memory together.
            is_shared = bool(self.targets[together[0]].context.shared_splits)
            yield from [together] if is_shared else self._groups_of_layer(together)

    def _groups_of_layer(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        target = self.targets[numbers[0]].target
        size = max(1, SUM_BYTES // max(1, kept_bytes(target.context, len(target.entries), target.fills.batch)))
        for first in range(0, len(numbers), size):
            yield numbers[first : first + size]

    def _run(self, numbers: Sequence[int], observers: Sequence[FidelityObserver | None]) -> list[int]:
        """Run some targets together; return the numbers of those that must run again.

        The error of a ranking lists reused rankings among the finished ones.
        """
        main = MainPass([self.targets[number].target for number in numbers])
        try:
            outcomes = main.run([observers[number] for number in numbers])
        except EngineError as error:
            cause = error.__cause__
            if error.ranking is None or not isinstance(cause, EngineError):
                raise
            raise cause.for_ranking(error.ranking, self._finished(numbers, error)) from cause
        ended = {
            number: self.targets[number].finish(outcome, observers[number], exact=not main.halved)
            for number, outcome in zip(numbers, outcomes, strict=True)
        }
        return [number for number in numbers if not ended[number]]

    def _finished(self, numbers: Sequence[int], error: EngineError) -> list[str]:
        """Return the ids of all rankings with finished scores, when these targets failed."""
        return [
            str(entry.id)
            for number, target in enumerate(self.targets)
            for entry in target.entries
            if target.reuses(entry) or entry.id in error.finished or (target.ended and number not in numbers)
        ]


def kept_bytes(context: JobContext, methods: int, batch: int) -> int:
    """Return the bytes that a target keeps beside the pass. `batch`: rows in one pass."""
    values = KEPT_VALUES * FLOAT32_BYTES * batch * context.split.place.units
    groups = min(MOST_BYTES, BYTES * MOST_GROUPS * len(context.clusters) * context.units.count)
    return methods * (values + groups)


def _by_passes(numbers: Sequence[int], contexts: Sequence[JobContext]) -> list[list[int]]:
    """Group the targets with these numbers and contexts by the splits that their passes share."""
    groups: dict[tuple[Split, ...], list[int]] = defaultdict(list)
    for number, context in zip(numbers, contexts, strict=True):
        groups[context.shared_splits or (context.split,)].append(number)
    return list(groups.values())
