"""The base class of the path methods, which sum along the shared path or along a separate one."""

from abc import abstractmethod
from typing import ClassVar, cast

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Batch, Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.path.refinement import Refinement
from unitrank_engine.methods.path.sums import PathSum, gradient_points
from unitrank_engine.methods.path.walk import Walk, input_walk
from unitrank_schemas.methods import MethodBase, PathMethod


class PathSumMethod(ScoringMethod):
    """Sums gradient · step over the intervals of a path.

    By default it uses the job's shared path. It walks separately if its path is not that of the
    inputs, if a tolerance doubles its steps, or if its passes have a lower precision.
    """

    separate_path: ClassVar[bool] = False
    """Whether the path differs from the model's inputs' x′ → x."""

    def __init__(self, entry: MethodBase, batch: Batch, prepared: object = None) -> None:
        super().__init__(entry, batch, prepared)
        self.method = cast(PathMethod, entry)  # the tables pair this class with that schema
        self._sum = PathSum(self.method, self.step)

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        method = cast(PathMethod, entry)
        return {0.0: False, 1.0: False} if cls._walks_separately(method) else gradient_points(method)

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        method = cast(PathMethod, entry)
        return method.steps + 1 if cls._walks_separately(method) else 0

    @classmethod
    def _walks_separately(cls, method: PathMethod) -> bool:
        return cls.separate_path or method.tolerance is not None or method.precision != "float32"

    @staticmethod
    @abstractmethod
    def step(left: Point, right: Point, out: Tensor) -> Tensor | float:
        """Return the factor of an interval's gradient; a tensor is written into `out`."""

    def walk(self) -> Walk:
        """Return the path that the method sums along: by default that of the model's inputs."""
        batch = self.batch
        return input_walk(batch.context, batch.ends, size=batch.size, count=batch.count, precision=self.method.precision)

    def visit(self, point: Point) -> None:
        if not self._walks_separately(self.method):
            self._sum.take(point)

    def scores(self) -> Float[Tensor, "rows *place"]:
        if not self._walks_separately(self.method):
            return self._sum.total()
        if self.method.tolerance is not None:
            return Refinement(self.method, self.step, self.batch).scores(self.walk())
        for point in self.walk().points(gradient_points(self.method)):
            self._sum.take(point.precise())
        return self._sum.total()
