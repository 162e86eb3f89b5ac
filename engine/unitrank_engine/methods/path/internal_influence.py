"""Internal influence: the mean gradient along the path of the inputs.

s = ∫ ∂F/∂h dα along x′ → x (arXiv:1802.03788). Complete: no. Cost: as conductance, and shared with
it where both have the same points.
"""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import length


class InternalInfluenceMethod(PathSumMethod):
    """Conductance's sum with the interval's length Δα in place of the change of h."""

    step = staticmethod(length)
