"""Makes the rankings of a job again, on models with permuted weights behind the place.

The entries of every parameter tensor that the tail reads are permuted. The examples, their classes
and their clusters are those of the true model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from unitrank_engine.attribution.main_pass import MainPass
from unitrank_engine.attribution.scores import Attribution
from unitrank_engine.attribution.target_pass import TargetPass
from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.program.permuted_tail import OwnTail, own_tail
from unitrank_engine.program.permuted_tail.weights import permuted
from unitrank_schemas.jobs.ablation import PERMUTED_MODELS
from unitrank_schemas.methods import MethodBase

STAGE = "sanity"
ImportanceOf = Callable[[Attribution, MethodBase], list[np.ndarray]]
"""Takes scores and a method; returns each cluster's importance, from the examples that rank."""


class PermutedScores:
    """Runs the main pass on each permuted model.

    `fills`: those of the true model.
    """

    def __init__(self, fills: Fills) -> None:
        self.fills = fills
        self.context = fills.context
        self.halved = False
        """Whether memory ran out, so that batches are smaller and sums round differently."""

    @property
    def tail(self) -> OwnTail:
        """The tail with weights of its own."""
        return own_tail(self.context.program, self.context.split.place, self.context.output)

    def plan(self, entries: Sequence[MethodBase]) -> None:
        """Announce the stage's rows for these methods."""
        MainPass([TargetPass(self.fills, list(entries))], STAGE).plan(PERMUTED_MODELS if entries else 0)

    def importances(self, entries: Sequence[MethodBase], importance_of: ImportanceOf) -> Iterator[dict[str, list[np.ndarray]]]:
        """Yield for each permuted model: ranking's id → importance of every unit in each cluster.

        Raises EngineError where scores cannot be computed on a permuted model.
        """
        tail = self.tail
        for number in range(PERMUTED_MODELS):
            context = _on(tail, self.context)
            main = MainPass([TargetPass(Fills(context, self.fills.baselines, self.fills.batch), list(entries))], STAGE)
            with permuted(tail.weights, self.context.streams.generator("sanity", number)):
                attribution = _run(main)
            self.halved = self.halved or main.halved
            yield {str(entry.id): importance_of(attribution, entry) for entry in entries}


def _on(tail: OwnTail, truth: JobContext) -> JobContext:
    """The job on the program of `tail`."""
    return replace(
        truth,
        program=tail.program,
        split=tail.program.split(tail.place, truth.output),
        units=PlaceUnits(truth.request.units, tail.place),
        truth=truth,
        shared_splits=(),
        _values={},
    )


def _run(main: MainPass) -> Attribution:
    try:
        (attribution,) = main.run([None])
    except EngineError as error:
        detail = f"with permuted weights (`sanity: permute_tail`), {error.detail}, or `sanity: null`"
        raise EngineError(error.code, detail) from error
    assert isinstance(attribution, Attribution)  # no entry has an open spacing
    return attribution
