"""Methods that use the gradient at the input x."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.methods.base import BACKWARD, MethodBase, MethodPasses


class Noise(Schema):
    """SmoothGrad: the gradient is averaged over noisy copies of the input."""

    samples: int = Field(20, ge=1, le=10_000, description="Noisy copies of each example.")
    level: float = Field(
        0.1, ge=0, le=10, description="Standard deviation of the noise, as a share of the range (max − min) of the example's input."
    )


NOISE = Field(
    None,
    description="SmoothGrad (arXiv:1706.03825): the gradient is averaged over noisy inputs. With the statistic `rms` the squares "
    "are averaged (SmoothGrad², arXiv:1806.10758).",
)


class SmoothedMethod(MethodBase):
    """The base of the methods whose gradient can be averaged over noisy inputs."""

    noise: Noise | None = NOISE

    def passes(self, tail: float, units: int) -> MethodPasses:
        if self.noise is None:
            return super().passes(tail, units)
        return MethodPasses(self.id, self.noise.samples * (1.0 + BACKWARD * tail))

    def looks_at_input_only(self) -> bool:
        return self.noise is None


class Gradient(SmoothedMethod):
    """The slope of the target with respect to the unit."""

    title = "Gradient"
    summary = "The slope of the target with respect to the unit, at the input. Slopes of opposite sign cancel in the mean."
    formula = "∂F/∂h"
    source = "Simonyan et al. 2014, arXiv:1312.6034"
    cost = "one forward and one backward pass through the layers after the place"
    in_units_of_target = False

    name: Literal["gradient"] = "gradient"


class GradientXActivation(SmoothedMethod):
    """Slope times value."""

    title = "Gradient × activation"
    summary = "A first-order estimate of the drop of the target when the unit becomes zero."
    formula = "h · ∂F/∂h"
    source = "Shrikumar et al. 2017, arXiv:1605.01713; Molchanov et al. 2017, arXiv:1611.06440"
    cost = "one forward and one backward pass through the layers after the place"

    name: Literal["gradient_x_activation"] = "gradient_x_activation"


class GradientXDelta(MethodBase):
    """Slope times difference from the baseline."""

    title = "Gradient × delta"
    summary = "A first-order estimate of the drop of the target when the unit gets its value at the baseline."
    formula = "(h − h′) · ∂F/∂h"
    source = "Shrikumar et al. 2018, arXiv:1807.09946, gradient method; Nanda 2023, attribution patching (`at_point`: baseline)"
    cost = "one forward and one backward pass through the layers after the place, for each end at which the gradient is taken"
    needs_baseline = True

    name: Literal["gradient_x_delta"] = "gradient_x_delta"
    at_point: Literal["x", "baseline", "mean"] = Field(
        "x", description="Where the gradient is taken: at the input `x`, at the `baseline`, or the `mean` of both gradients."
    )

    def passes(self, tail: float, units: int) -> MethodPasses:
        both = 2 if self.at_point == "mean" else 1
        shared_as = ("gradient", self.at_point) if self.at_point != "x" else "gradient"
        return MethodPasses(shared_as, both * (1.0 + BACKWARD) * tail, between_layers=True)

    def passes_of_each_baseline(self) -> bool:
        return self.at_point != "x"

    def looks_at_input_only(self) -> bool:
        return self.at_point == "x"


Family = Gradient | GradientXActivation | GradientXDelta
