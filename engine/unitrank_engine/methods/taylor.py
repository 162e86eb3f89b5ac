"""Taylor: the squared first-order change of the target when the unit is replaced by its fill."""

from typing import cast

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import MethodBase, Taylor


class TaylorMethod(ScoringMethod):
    """s = ((h − fill) · ∂F/∂h)²; the product is summed over the unit's elements, then squared."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: True}

    def visit(self, point: Point) -> None:
        self._point = point

    def by_unit(self) -> Float[Tensor, "rows units"]:
        assert self._point.gradient is not None
        change = (self._point.h - self.batch.fill(cast(Taylor, self.entry).fill)) * self._point.gradient
        return self.batch.context.units.reduce(change).square()


FAMILY: dict[str, type[ScoringMethod]] = {"taylor": TaylorMethod}
