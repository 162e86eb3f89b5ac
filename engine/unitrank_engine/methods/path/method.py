"""The base class of the path methods, which sum along the shared path or along a separate one."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext, first_rows
from unitrank_engine.methods.batch import Batch, PathGap, Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.path.adaptive import adaptive_scores
from unitrank_engine.methods.path.measured import MeasuredSum, gap_of_sections
from unitrank_engine.methods.path.refinement import Refinement
from unitrank_engine.methods.path.sums import gradient_points
from unitrank_engine.methods.path.walk import Walk, input_walk, points_of_targets
from unitrank_engine.program import Split
from unitrank_schemas.methods import MethodBase, PathMethod

ROWS_AROUND = 16
"""The number of rows for which the gap with the values around a place is measured.

The measurement costs one more pass for each point of the path.
"""


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
        self._sum = MeasuredSum(self.method, self.step, complete=self.complete_at(batch.context.split))
        self._gap: PathGap | None = None

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
        own_points = method.tolerance is not None or method.spacing == "adaptive"
        return cls.separate_path or own_points or method.precision != "float32"

    @staticmethod
    @abstractmethod
    def step(left: Point, right: Point, out: Tensor) -> Tensor | float:
        """Return the factor of an interval's gradient; a tensor is written into `out`."""

    def complete_at(self, split: Split) -> bool:
        """Return whether Σ ∂F/∂h · Δh is the change of F along the path.

        For the path of the inputs, it is at a cut.
        """
        return split.cut

    def change(self) -> Float[Tensor, " rows"]:
        """Return F at the end of the path minus F at its start."""
        return self.batch.ends.f.double() - self.batch.ends.f_baseline.double()

    def walk(self) -> Walk:
        """Return the path that the method sums along: by default that of the model's inputs."""
        batch = self.batch
        return input_walk(batch.context, batch.ends, size=batch.size, count=batch.count, precision=self.method.precision)

    def visit(self, point: Point) -> None:
        if not self._walks_separately(self.method):
            self._sum.take(point)

    @classmethod
    def share(cls, methods: Sequence[ScoringMethod]) -> None:
        group = cast(Sequence[PathSumMethod], methods)
        for method in group[1:]:
            method._sum.share_steps(group[0]._sum)

    @classmethod
    def by_target(cls, methods: Sequence[ScoringMethod]) -> list[Float[Tensor, "rows units"]]:
        group = cast(Sequence[PathSumMethod], methods)
        method = group[0].method
        if cls._walks_separately(method) and method.tolerance is None and method.spacing != "adaptive":
            for number, point in points_of_targets([each.walk() for each in group], gradient_points(method)):
                group[number]._sum.take(point.precise())
        return super().by_target(group)

    def scores(self) -> Float[Tensor, "rows *place"]:
        if self.method.spacing == "adaptive":
            scores, self._gap = adaptive_scores(self.method, self.step, self.batch, self.walk())
            return scores
        if self.method.tolerance is not None:
            scores, self._gap = Refinement(self.method, self.step, self.batch).scores(self.walk())
            return scores
        scores, self._gap = self._sum.total(self.change())
        if not self.complete_at(self.batch.context.split) and self.method.precision == "float32":
            self._gap = replace(self._gap, hidden=self._gap_around())
        return scores

    def _gap_around(self) -> Float[Tensor, " rows"]:
        """Return the gap of h and the values around it together, for the job's first examples.

        An estimate from half of the steps is 0 where all change is between the first two points.
        """
        batch, walk = self.batch, self.walk()
        gap = torch.full_like(batch.ends.f, torch.nan, dtype=torch.float64)
        first = np.flatnonzero(np.isin(batch.rows, first_rows(batch.context)[:ROWS_AROUND]))
        if walk.complete and len(first):
            chosen = torch.from_numpy(first).to(gap.device)
            gap[chosen] = gap_of_sections(walk.of(chosen), self.method)
        return gap

    def gap(self) -> PathGap | None:
        return self._gap
