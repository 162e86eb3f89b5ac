"""Methods that look at the ends of the path alone: the input and, for a difference, the baseline."""

from jaxtyping import Float
from torch import Tensor

from api_schemas.methods import MethodBase
from worker.methods.path import Method, Point


class Activation(Method):
    """s = h. Complete: no. Cost: one forward pass up to the layer."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: False}

    def visit(self, point: Point) -> None:
        self._h = point.h

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._h


class Gradient(Method):
    """s = ∂F/∂h (arXiv:1312.6034). Complete: no. Cost: one forward and one backward pass."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: True}

    def visit(self, point: Point) -> None:
        assert point.gradient is not None
        self._gradient = point.gradient

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._gradient


class GradientXActivation(Method):
    """s = h · ∂F/∂h (arXiv:1605.01713). Complete: no. Cost: one forward and one backward pass."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: True}

    def visit(self, point: Point) -> None:
        assert point.gradient is not None
        self._product = point.h * point.gradient

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._product


class GradientXDelta(Method):
    """s = (h − h′) · ∂F/∂h (arXiv:1807.09946). Complete: no, except behind the last nonlinearity. Cost: as gradient."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {0.0: False, 1.0: True}

    def visit(self, point: Point) -> None:
        if point.alpha == 0.0:
            self._baseline = point.h
        else:
            assert point.gradient is not None
            self._product = (point.h - self._baseline) * point.gradient

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._product
