"""Shapley values of the units: the mean effect of a unit over all orders of replacing units."""

from typing import Literal, Self

from pydantic import Field

from unitrank_schemas.base import FILL, Fill
from unitrank_schemas.methods.base import MethodBase, MethodPasses

MOST_ENUMERATED = 12
"""Units up to which all sets of units are replaced, and no permutation is drawn."""
FIRST_ROUND = 8
"""Permutations of the first round of a job that can stop early."""
SETTLE = (
    "Stop early, when the intervals of the k highest units of every cluster no longer overlap with those of the other units. "
    "The job then tries 8 permutations, 16, 32 and so on, at most `permutations`. "
    "Intervals after an early stop are nominal: they can cover the exact value less often than their level says."
)


class Shapley(MethodBase):
    """Shapley values, from random permutations of the units or exact."""

    title = "Shapley values"
    summary = "The mean drop of the target when this unit is replaced after a random set of other units."
    formula = "mean over orders of F(h with the units before it replaced) − F(h with the unit replaced, too)"
    source = "Castro et al. 2009, doi:10.1016/j.cor.2008.04.004; Mitchell et al. 2022, arXiv:2104.12199, antithetic pairs"
    cost = (
        "permutations · units passes through the layers after the place; rank-one updates if a dense layer or a convolution follows"
    )
    needs_gradient = False
    costly = True

    name: Literal["shapley"] = "shapley"
    permutations: int = Field(
        32,
        ge=2,
        le=10_000,
        multiple_of=2,
        description="Random orders of the units for each example, in pairs of an order and its reverse.",
    )
    fill: Fill = Field("baseline", description=FILL)
    settle: int | None = Field(None, ge=1, description=SETTLE)

    def passes(self, tail: float, units: int) -> MethodPasses:
        sets = 2**units if units <= MOST_ENUMERATED else self.permutations * units
        return MethodPasses(("shapley", self.fill, self.permutations, self.settle), sets * tail)

    @property
    def settled_units(self) -> int | None:
        return self.settle

    def rounds(self) -> list[Self]:
        counts = [FIRST_ROUND * 2**number for number in range(12)] if self.settle else []
        smaller = [count for count in counts if count < self.permutations]
        return [*(self.model_copy(update={"permutations": count}) for count in smaller), self]


Family = Shapley
