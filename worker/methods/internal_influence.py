"""Internal influence: the mean gradient along the path of the inputs.

s = ∫ ∂F/∂h dα along x′ → x (arXiv:1802.03788). Complete: no. Cost: as conductance.
"""

from worker.methods.conductance import Conductance
from worker.methods.path import Point


class InternalInfluence(Conductance):
    """The same sum as conductance with the length of the interval in place of the change of h."""

    def step(self, left: Point, right: Point) -> float:
        return right.alpha - left.alpha
