"""Integrated gradients in the place's own space.

s = (h − h′) · ∫ ∂F/∂h dα along the straight line h′ → h, all other values held at x (arXiv:1703.01365, eq. 1). Complete at
every cut, up to the error of the quadrature. Cost: `steps` forward and backward passes of the tail, one more for `trapezoid`.
"""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import change_of_h
from unitrank_engine.methods.path.walk import PlaceWalk, Walk


class IntegratedGradientsMethod(PathSumMethod):
    """The sum of conductance along another path: on a straight one the change of h is Δα · (h − h′)."""

    own_path = True

    step = staticmethod(change_of_h)

    def walk(self) -> Walk:
        batch, ends = self.batch, self.batch.ends
        return PlaceWalk(
            context=batch.context,
            fixed=ends.fixed,
            size=batch.size,
            count=batch.count,
            precision=self.method.precision,
            x=ends.x,
            live=ends.live,
            start=ends.start.h,
            end=ends.input.h,
        )
