"""Integrated gradients: the sum of ∂F/∂h · Δh along the straight line from h′ to h."""

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.path.method import PathSumMethod
from unitrank_engine.methods.path.sums import change_of_h
from unitrank_engine.methods.path.walk import PlaceWalk, Walk
from unitrank_engine.program import Split


class IntegratedGradientsMethod(PathSumMethod):
    """Conductance's sum along h′ → h, where the change of h in an interval is Δα · (h − h′)."""

    separate_path = True

    step = staticmethod(change_of_h)

    def complete_at(self, split: Split) -> bool:
        return True

    def change(self) -> Float[Tensor, " rows"]:
        """Return F(h) − F(h′) with all other values at x."""
        batch, ends = self.batch, self.batch.ends
        if batch.context.split.cut:
            return super().change()
        with torch.no_grad():
            start = batch.context.score(batch.context.split.tail(ends.start.h, ends.live), ends.fixed)
        batch.count(len(start), backward=False, progress=0)
        return ends.f.double() - start.double()

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
