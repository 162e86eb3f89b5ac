"""Internal influence: the mean gradient along the path of the inputs.

s = ∫ ∂F/∂h dα along x′ → x (arXiv:1802.03788). Complete: no. Cost: as conductance.
"""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import length


class InternalInfluenceMethod(PathSumMethod):
    """The same sum as conductance with the length of the interval in place of the change of h."""

    step = staticmethod(length)
