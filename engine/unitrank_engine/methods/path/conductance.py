"""Conductance: the sum of ∂F/∂h · Δh along the path of the inputs."""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import change_of_h


class ConductanceMethod(PathSumMethod):
    """Sums ∂F/∂h · Δh. The rule takes ∂F/∂h at an interval's left or right end, or their mean."""

    step = staticmethod(change_of_h)
