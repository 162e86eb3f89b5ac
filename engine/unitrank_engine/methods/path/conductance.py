"""Conductance, which is what Neuron Integrated Gradients computes.

s = Σₜ ∂F/∂h · (h(xₜ) − h(xₜ₋₁)) along x′ → x (arXiv:1805.12233; arXiv:1807.09946, eq. 2). Complete at every cut, up to
the error of the quadrature. Cost: `steps` + 1 forward passes and `steps` backward passes, one more for `trapezoid`.
"""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import change_of_h


class ConductanceMethod(PathSumMethod):
    """The sum over intervals of the gradient at the left end, the right end, or their mean, times the change of h."""

    step = staticmethod(change_of_h)
