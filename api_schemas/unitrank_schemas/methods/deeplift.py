"""DeepLIFT: differences carried back through the net by slopes of differences."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.methods.base import BACKWARD, MethodBase, MethodPasses


class DeepLift(MethodBase):
    """DeepLIFT's multipliers times the difference from the baseline."""

    title = "DeepLIFT"
    summary = "The change of the target against the baseline, carried back by each operation's slope between the two runs."
    formula = "m · (h − h′), m the product of mean slopes Δout/Δin (Rescale), or of the slopes of positive and negative parts"
    source = "Shrikumar et al. 2017, arXiv:1704.02685; Shrikumar et al. 2018, arXiv:1807.09946"
    cost = "two forward passes and one backward pass through the layers after it; more where an operation needs quadrature"
    complete = True
    needs_baseline = True

    name: Literal["deeplift"] = "deeplift"
    rules: Literal["rescale", "reveal_cancel", "default"] = Field(
        "default", description="`default`: Rescale after convolutions, RevealCancel after dense layers."
    )

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses(("deeplift", self.rules), (2.0 + BACKWARD) * tail)


Family = DeepLift
