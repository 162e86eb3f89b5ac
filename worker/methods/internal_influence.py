"""Internal influence: the mean gradient along the path of the inputs.

s = ∫ ∂F/∂h dα along x′ → x (arXiv:1802.03788). Complete: no. Cost: as conductance.
"""

from jaxtyping import Float
from torch import Tensor

from worker.methods.conductance import Conductance, slope
from worker.methods.path import Point


class InternalInfluence(Conductance):
    """The same sum as conductance with the length of the interval in place of the change of h."""

    def visit(self, point: Point) -> None:
        before, self._before = self._before, point
        if before is None:
            self._total = point.h.new_zeros(point.h.shape)
            return
        self._total += slope(self.entry, before, point) * (point.alpha - before.alpha)

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._total
