"""Grad-CAM: the value of the unit times the mean gradient of its channel over space."""

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import MethodBase


class GradCamMethod(ScoringMethod):
    """s = h · mean over space of ∂F/∂h.

    `scores` raises EngineError `method_not_applicable` without spatial axes.
    """

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: True}

    def visit(self, point: Point) -> None:
        self._point = point

    def scores(self) -> Float[Tensor, "rows *place"]:
        point, place = self._point, self.batch.context.split.place
        assert point.gradient is not None
        assert place.channel_axis is not None  # the checks of a request refuse such a place
        space = [axis + 1 for axis in range(len(place.shape)) if axis != place.channel_axis]
        if not space:
            detail = (
                f"grad_cam averages over space, but layer '{place.layer}' of shape {list(place.shape)} has only a channel axis; "
                "choose a layer with spatial axes, such as a convolution"
            )
            raise EngineError("method_not_applicable", detail)
        return point.h * point.gradient.mean(space, keepdim=True)


FAMILY: dict[str, type[ScoringMethod]] = {"grad_cam": GradCamMethod}
