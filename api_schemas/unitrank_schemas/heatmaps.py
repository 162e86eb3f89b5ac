"""Heatmaps: which rankings have one, and which axes of the place it keeps; for a result and for the estimate of its size."""

from collections.abc import Sequence


def heatmap_axes(spatial: bool, kind: str, units: str, shape: Sequence[int], channel_axis: int) -> list[int] | None:
    """The axes of a place that span the ranking's heatmap; None where it has none.

    A spatial method has one everywhere; at the model's inputs every ranking has one. Two axes alone are taken for an image
    without colours.
    """
    if units != "neuron" or len(shape) < 2:
        return None
    if spatial or (kind == "Input" and len(shape) > 2):
        return [axis for axis in range(len(shape)) if axis != channel_axis]
    return [0, 1] if kind == "Input" else None
