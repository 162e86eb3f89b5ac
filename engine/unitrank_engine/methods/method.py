"""What every method is: the scores of one batch, from points of a shared path or from passes of its own."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Batch, Point
from unitrank_schemas.methods import MethodBase


class ScoringMethod(ABC):
    """The scores of one batch, gathered while the path of the inputs is walked from α = 0 to α = 1, and after it."""

    def __init__(self, entry: MethodBase, batch: Batch, prepared: object = None) -> None:
        self.entry = entry
        self.batch = batch
        self.prepared = prepared

    @classmethod
    def prepare(cls, entry: MethodBase, context: JobContext) -> object:
        """What all batches of a job have in common, made once and handed to each."""
        return None

    @classmethod
    @abstractmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        """Each α of the shared path that the method must see, and whether it needs the gradient there."""

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        """Rows of its own that an example sends through the model, besides those of the shared path."""
        return 0

    def visit(self, point: Point) -> None:
        """Takes in one of its points; they come in ascending order."""
        return

    @abstractmethod
    def scores(self) -> Float[Tensor, "rows *place"]:
        """The score of each element of the place for each example."""

    def by_unit(self) -> Float[Tensor, "rows units"]:
        """The score of each unit: where units are channels, the sum of their elements'."""
        return self.batch.context.units.reduce(self.scores())
