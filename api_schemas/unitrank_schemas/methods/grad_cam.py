"""Grad-CAM: a map over space of the positions where a channel supports the target."""

from typing import Literal

from unitrank_schemas.methods.base import MethodBase


class GradCam(MethodBase):
    """Grad-CAM: each channel, weighted by the spatial mean of its gradient."""

    title = "Grad-CAM"
    summary = "The unit's value times the mean slope of its channel. It needs a place with spatial axes."
    formula = "h · mean over space of ∂F/∂h; the heatmap is the ReLU of the sum over channels"
    source = "Selvaraju et al. 2017, arXiv:1610.02391, eqs. 1 and 2"
    cost = "one forward and one backward pass through the layers after the place"
    spatial = True

    name: Literal["grad_cam"] = "grad_cam"

    def looks_at_input_only(self) -> bool:
        return True


Family = GradCam
