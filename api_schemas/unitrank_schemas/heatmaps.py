"""Heatmaps: which rankings have a heatmap, and which axes of the place it shows.

The engine makes the heatmaps of a result; the checks estimate their size.
"""

from collections.abc import Sequence

from unitrank_schemas.facts.units import Units


def heatmap_axes(spatial: bool, kind: str, units: Units, shape: Sequence[int], channel_axis: int | None) -> list[int] | None:
    """The axes of a place that become the axes of the heatmap; None if the ranking has no heatmap.

    `spatial`: whether the method is spatial. `kind`: the layer's kind, `Input` for an input.
    Rankings of spatial methods have a heatmap at every place, other rankings only at the model's
    inputs. An input with two axes counts as an image without colours. A place whose channel axis
    is not known has no heatmap.
    """
    if units != "neuron" or len(shape) < 2 or channel_axis is None:
        return None
    if spatial or (kind == "Input" and len(shape) > 2):
        return [axis for axis in range(len(shape)) if axis != channel_axis]
    return [0, 1] if kind == "Input" else None
