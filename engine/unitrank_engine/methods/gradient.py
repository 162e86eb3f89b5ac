"""Gradient methods: the gradient alone, or times the activation or h − h′."""

from collections.abc import Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.smoothing import smoothed
from unitrank_schemas.methods import GradientXDelta, MethodBase, Noise, SmoothedMethod


class GradientMethod(ScoringMethod):
    """s = ∂F/∂h, at the input or, with `noise`, averaged over noisy inputs (SmoothGrad)."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: _smooth(entry) is None}

    @classmethod
    def passes(cls, entry: MethodBase, context: JobContext) -> int:
        noise = _smooth(entry)
        return noise.samples if noise else 0

    def visit(self, point: Point) -> None:
        self._point = point

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self.gradient()

    @classmethod
    def by_target(cls, methods: Sequence[ScoringMethod]) -> list[Float[Tensor, "rows units"]]:
        group = cast(Sequence[GradientMethod], methods)
        noise = _smooth(group[0].entry)
        if noise is not None:
            squared = group[0].entry.statistic == "rms"
            means = smoothed([method.batch for method in group], noise, squared=squared)
            for method, mean in zip(group, means, strict=True):
                method.visit(Point(1.0, method._point.h, mean))
        return super().by_target(group)

    def gradient(self) -> Float[Tensor, "rows *place"]:
        """Return ∂F/∂h at the input, or its average over noisy inputs."""
        assert self._point.gradient is not None
        return self._point.gradient


class GradientXActivationMethod(GradientMethod):
    """s = h · ∂F/∂h. `noise` changes the gradient only; h is the value at the clean input."""

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._point.h * self.gradient()


class GradientXDeltaMethod(ScoringMethod):
    """s = (h − h′) · ∂F/∂h, with the gradient at x, at x′, or the mean of both."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        at = cast(GradientXDelta, entry).at_point
        return {0.0: at != "x", 1.0: at != "baseline"}

    def visit(self, point: Point) -> None:
        if point.alpha == 0.0:
            self._start = point
        else:
            self._end = point

    def scores(self) -> Float[Tensor, "rows *place"]:
        ends = {"x": [self._end], "baseline": [self._start], "mean": [self._start, self._end]}
        gradients = [end.gradient for end in ends[cast(GradientXDelta, self.entry).at_point] if end.gradient is not None]
        gradient = gradients[0] if len(gradients) == 1 else (gradients[0] + gradients[1]) / 2
        return (self._end.h - self._start.h) * gradient


FAMILY: dict[str, type[ScoringMethod]] = {
    "gradient": GradientMethod,
    "gradient_x_activation": GradientXActivationMethod,
    "gradient_x_delta": GradientXDeltaMethod,
}


def _smooth(entry: MethodBase) -> Noise | None:
    assert isinstance(entry, SmoothedMethod)
    return entry.noise
