"""Internal influence: the sum of ∂F/∂h · Δα along the path of the inputs."""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import length


class InternalInfluenceMethod(PathSumMethod):
    """Conductance's sum with the interval's length Δα in place of the change of h."""

    step = staticmethod(length)
