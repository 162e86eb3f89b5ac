"""Grad-CAM: each channel weighted by the mean of its gradient over space.

s = h · mean over space of ∂F/∂h, for places with spatial axes; the heatmap is the ReLU of the sum over channels
(arXiv:1610.02391, eqs. 1 and 2). Complete: no. Cost: one forward and one backward pass.
"""

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import MethodBase


class GradCamMethod(ScoringMethod):
    """Raises EngineError `method_not_applicable` where the place has no spatial axes."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: True}

    def visit(self, point: Point) -> None:
        self._point = point

    def scores(self) -> Float[Tensor, "rows *place"]:
        point, place = self._point, self.batch.context.split.place
        assert point.gradient is not None
        space = [axis + 1 for axis in range(len(place.shape)) if axis != place.channel_axis]
        if not space:
            detail = (
                f"grad_cam averages over space, and layer '{place.layer}' has the shape {list(place.shape)}: no axis but channels"
            )
            raise EngineError("method_not_applicable", detail)
        return point.h * point.gradient.mean(space, keepdim=True)


FAMILY: dict[str, type[ScoringMethod]] = {"grad_cam": GradCamMethod}
