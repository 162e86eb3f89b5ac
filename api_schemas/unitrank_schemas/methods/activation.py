"""Activation: the value of the unit."""

from typing import Literal

from unitrank_schemas.methods.base import MethodBase, MethodPasses


class Activation(MethodBase):
    """The value of the unit."""

    title = "Activation"
    summary = "The value of the unit. It shows how active the unit is, not how it affects the output."
    formula = "h"
    source = "Erhan et al. 2009, Visualizing Higher-Layer Features of a Deep Network"
    cost = "one forward pass up to the layer"
    needs_gradient = False
    explains_class = False
    in_units_of_target = False

    name: Literal["activation"] = "activation"

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses("nothing", 0.0)


Family = Activation
