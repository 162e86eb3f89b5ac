"""The base class of all methods."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Batch, PathGap, Point, ScoreVariance
from unitrank_schemas.methods import MethodBase


class ScoringMethod(ABC):
    """Computes the scores of one batch, from points of the shared path or from extra passes.

    The main pass makes one instance for each batch. It hands the instance the points that `points`
    names, in order from α = 0 to α = 1, with `visit`, and then calls `by_unit` once.

    `entry`: the method's entry of the request.
    `batch`: the examples, at both ends of their path.
    `prepared`: the value that `prepare` returned for this job.
    """

    sampled: ClassVar[bool] = False
    """Whether `variance` gives the variances of the scores."""

    def __init__(self, entry: MethodBase, batch: Batch, prepared: object = None) -> None:
        self.entry = entry
        self.batch = batch
        self.prepared = prepared

    @classmethod
    def prepare(cls, entry: MethodBase, context: JobContext) -> object:
        """Return a value that all batches of the job share. Called once a job."""
        return None

    @classmethod
    @abstractmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        """Return the needed points of the shared path: α → whether the gradient is needed there."""

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        """Return the rows of extra passes for one example, besides the shared path.

        The progress meter uses this number.
        """
        return 0

    def visit(self, point: Point) -> None:
        """Take the next point of the path, in ascending order of α."""
        return

    def scores(self) -> Float[Tensor, "rows *place"]:
        """Return the score of each element of the place for each example.

        A method whose unit's score is not the sum over its elements has none. It overrides
        `by_unit` or `by_target`.
        """
        raise NotImplementedError(f"{self.entry.name} has scores by unit only")

    def gap(self) -> PathGap | None:
        """Return the gaps of the paths of a path method, after `scores`; None for other methods."""
        return None

    def variance(self) -> ScoreVariance | None:
        """Return the variance of each score, after `by_unit`; None where scores are not sampled."""
        return None

    @classmethod
    def share(cls, methods: "Sequence[ScoringMethod]") -> None:
        """Let instances for the same batch and entry, one for each target, share their work.

        Called before the first point.
        """
        return

    @classmethod
    def by_target(cls, methods: "Sequence[ScoringMethod]") -> list[Float[Tensor, "rows units"]]:
        """Return the scores of each unit for several targets.

        `methods`: instances for the same batch and entry, one for each target.

        A class whose extra passes serve all targets overrides this.
        """
        if not methods[0].entry.explains_class:
            return [methods[0].by_unit()] * len(methods)
        return [method.by_unit() for method in methods]

    def by_unit(self) -> Float[Tensor, "rows units"]:
        """Return the score of each unit; a channel's score is the sum over its elements."""
        return self.batch.context.units.reduce(self.scores())
