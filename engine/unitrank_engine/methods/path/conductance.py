"""Conductance, also called Neuron Integrated Gradients: the change of F that flows through a unit.

s = ∫ ∂F/∂h · dh/dα dα ≈ Σₜ ∂F/∂h · (h(xₜ) − h(xₜ₋₁)) along x′ → x (arXiv:1805.12233;
arXiv:1807.09946, eq. 2). Complete at every cut, up to the error of the sum. Cost: `steps` + 1
forward passes, and `steps` backward passes of the tail; `steps` + 1 with the rule `trapezoid`.
"""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import change_of_h


class ConductanceMethod(PathSumMethod):
    """Sums ∂F/∂h · Δh. The rule takes ∂F/∂h at an interval's left or right end, or their mean."""

    step = staticmethod(change_of_h)
