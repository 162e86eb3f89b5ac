"""Integrated gradients: the sum of ∂F/∂h · Δh along the straight line from h′ to h."""

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import change_of_h
from unitrank_engine.methods.path.walk import PlaceWalk, Walk


class IntegratedGradientsMethod(PathSumMethod):
    """Conductance's sum along h′ → h, where the change of h in an interval is Δα · (h − h′)."""

    separate_path = True

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
