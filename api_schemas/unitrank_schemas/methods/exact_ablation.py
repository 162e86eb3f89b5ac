"""Exact ablation: what the target really loses without the unit."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Fill
from unitrank_schemas.methods.base import MethodBase, MethodPasses


class ExactAblation(MethodBase):
    """The drop of the target when this one unit, or this channel as a whole, is replaced."""

    title = "Exact ablation"
    summary = "What the target loses when the unit alone is replaced: measured, not estimated, one unit at a time."
    formula = "F(h) − F(h with the unit replaced)"
    source = "Zeiler & Fergus 2014, arXiv:1311.2901; Li et al. 2016, arXiv:1612.08220"
    cost = "one pass for each unit through the layers after it; a rank-one update if a dense layer or a convolution follows"
    needs_gradient = False

    name: Literal["exact_ablation"] = "exact_ablation"
    fill: Fill = Field("baseline", description="What the unit becomes, as in `ablation`.")

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses(("exact_ablation", self.fill), units * tail)


Family = ExactAblation
