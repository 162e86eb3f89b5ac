"""Exact ablation: the drop of the target when one unit is replaced."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import FILL, Fill
from unitrank_schemas.methods.base import MethodBase, MethodPasses


class ExactAblation(MethodBase):
    """The drop of the target when one unit, a neuron or a channel, is replaced."""

    title = "Exact ablation"
    summary = "The drop of the target when only this unit is replaced. It is measured, not estimated."
    formula = "F(h) − F(h with the unit replaced)"
    source = "Zeiler & Fergus 2014, arXiv:1311.2901; Li et al. 2016, arXiv:1612.08220"
    cost = "one pass through the layers after the place for each unit; a rank-one update if a dense layer or a convolution follows"
    needs_gradient = False

    name: Literal["exact_ablation"] = "exact_ablation"
    fill: Fill = Field("baseline", description=FILL)

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses(("exact_ablation", self.fill), units * tail)


Family = ExactAblation
