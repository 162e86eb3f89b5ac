"""Activation: the value of the unit at the input. It does not depend on the target."""

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import MethodBase


class ActivationMethod(ScoringMethod):
    """s = h."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: False}

    def visit(self, point: Point) -> None:
        self._h = point.h

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._h


FAMILY: dict[str, type[ScoringMethod]] = {"activation": ActivationMethod}
