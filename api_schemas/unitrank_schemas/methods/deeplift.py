"""DeepLIFT: differences from the baseline, carried back with the slope of each operation."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.methods.base import BACKWARD, MethodBase, MethodPasses


class DeepLift(MethodBase):
    """DeepLIFT: multiplier times difference from the baseline."""

    title = "DeepLIFT"
    summary = "The unit's part of the change of the target from the baseline, from each operation's slope between x′ and x."
    formula = (
        "m · (h − h′); m is the product of the slopes Δout/Δin (Rescale), or of the slopes of positive and negative parts "
        "(RevealCancel)"
    )
    source = "Shrikumar et al. 2017, arXiv:1704.02685, eqs. 3 to 5; Shrikumar et al. 2018, arXiv:1807.09946"
    cost = "two forward passes and one backward pass through the layers after the place; more if an operation needs quadrature"
    complete = True
    needs_baseline = True

    name: Literal["deeplift"] = "deeplift"
    rules: Literal["rescale", "reveal_cancel", "default"] = Field(
        "default", description="`default` uses Rescale after convolutions and RevealCancel after dense layers."
    )

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses(("deeplift", self.rules), (2.0 + BACKWARD) * tail)


Family = DeepLift
