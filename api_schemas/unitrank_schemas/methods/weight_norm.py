"""Weight norm: the size of a unit's outgoing weights."""

from typing import Literal

from unitrank_schemas.methods.base import MethodBase, MethodPasses


class WeightNorm(MethodBase):
    """The size of a unit's outgoing weights times its mean absolute value."""

    title = "Weight norm"
    summary = "The L2 norm of the unit's outgoing weights in the next linear operation, times its mean absolute value."
    formula = "‖w‖₂ · mean |h|"
    source = "after Sun et al. 2023, arXiv:2306.11695, which scores single weights"
    cost = "one forward pass up to the layer; once a job, the way of each unit to the next linear operation"
    needs_gradient = False
    explains_class = False
    needs_weights = True
    in_units_of_target = False

    name: Literal["weight_norm"] = "weight_norm"

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses("nothing", 0.0)


Family = WeightNorm
