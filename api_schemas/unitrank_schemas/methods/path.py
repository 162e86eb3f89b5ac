"""Methods that integrate along the straight path from the baseline to the input."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.methods.base import BACKWARD, MethodBase, MethodPasses

MOST_POINT_BYTES = 2**30
"""Limit of the points of one example with the spacing `adaptive`, which are all kept, in bytes."""


class PathMethod(MethodBase):
    """The base of the path methods, with their common options."""

    needs_baseline = True

    steps: int = Field(20, ge=1, le=10_000, description="Number of intervals of the path.")
    rule: Literal["left", "right", "trapezoid"] = Field(
        "trapezoid",
        description="Gradient of an interval: at its `left` end, at its `right` end (as in the paper), or the mean of both.",
    )
    spacing: Literal["uniform", "cubic", "adaptive"] | None = Field(
        None,
        description="Where the path's points are. `uniform`: α = t. `cubic`: α = t³, dense near the baseline. `adaptive`: each "
        "example has points of its own, where the target and the values change. Default: `cubic` for a baseline of zeros, else "
        "`uniform`; at a cut `adaptive`, where that leaves a relative gap above 0.05 on the job's first 64 examples. The result "
        "names the spacing that was used.",
    )
    tolerance: float | None = Field(
        None,
        ge=1e-6,
        lt=1,
        description="`steps` is doubled, separately for each example, until the relative completeness gap is below `tolerance`. "
        "The place must be a cut.",
    )
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "float32",
        description="Precision of the passes along the path; sums stay float32. `tf32` changes only matrix products on CUDA.",
    )

    def passes(self, tail: float, units: int) -> MethodPasses:
        alone = self.tolerance is not None or self.spacing == "adaptive" or self.precision != "float32"
        shared_as = self.id if alone else ("path", self.steps, self.spacing)
        return MethodPasses(shared_as, (self.steps + 1) * (1.0 + BACKWARD * tail), between_layers=not alone)


class Conductance(PathMethod):
    """Neuron Integrated Gradients: the part of F(x) − F(x′) that flows through the unit."""

    title = "Conductance (Neuron Integrated Gradients)"
    summary = "The part of the change of the target, along the path from the baseline, that passes through the unit."
    formula = "∫ ∂F/∂h · dh/dα dα  ≈  Σₜ ∂F/∂h · (h(xₜ) − h(xₜ₋₁))"
    source = "Dhamdhere et al. 2018, arXiv:1805.12233; Shrikumar et al. 2018, arXiv:1807.09946, eq. 2"
    cost = "steps + 1 forward passes; steps backward passes (one more for `trapezoid`) through the layers after the place"
    complete = True

    name: Literal["conductance"] = "conductance"


class InternalInfluence(PathMethod):
    """The mean gradient along the path of the inputs."""

    title = "Internal influence"
    summary = "The slope of the target with respect to the unit, averaged along the path from the baseline to the input."
    formula = "∫ ∂F/∂h dα"
    source = "Leino et al. 2018, arXiv:1802.03788"
    cost = "steps forward passes; steps backward passes through the layers after the place; one more of each for `trapezoid`"
    in_units_of_target = False

    name: Literal["internal_influence"] = "internal_influence"


class IntegratedGradients(PathMethod):
    """Integrated gradients along a straight line of the place's values."""

    title = "Integrated gradients"
    summary = "The unit's part of the change of the target, along the straight line from h′ to h."
    formula = "(h − h′) · ∫ ∂F/∂h dα along h′ → h, all other values held at x"
    source = "Sundararajan et al. 2017, arXiv:1703.01365, eq. 1"
    cost = "steps forward and backward passes (one more for `trapezoid`) through the layers after the place"
    complete = True

    name: Literal["integrated_gradients"] = "integrated_gradients"

    def passes(self, tail: float, units: int) -> MethodPasses:
        # The path of this method runs through the place's values, so no other method can share it.
        return MethodPasses(self.id, (self.steps + 1) * (1.0 + BACKWARD) * tail)


Family = Conductance | InternalInfluence | IntegratedGradients
