"""Activation: the value of the unit itself."""

from typing import Literal

from unitrank_schemas.methods.base import MethodBase, MethodPasses


class Activation(MethodBase):
    """The unit's own value."""

    title = "Activation"
    summary = "The mean value of the unit: how active it is, whatever the output does with it."
    formula = "h"
    source = "Erhan et al. 2009, Visualizing Higher-Layer Features of a Deep Network"
    cost = "one forward pass up to the layer"
    needs_gradient = False

    name: Literal["activation"] = "activation"

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses("nothing", 0.0)


Family = Activation
