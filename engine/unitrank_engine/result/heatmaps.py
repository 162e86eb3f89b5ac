"""Heatmaps show a ranking's scores over space: one for each cluster, and one for each kept example.

Grad-CAM's heatmap is the ReLU of the sum over channels (arXiv:1610.02391, eq. 2). At the model's
inputs, the heatmap is the mean over channels (colours).
"""

import numpy as np
from jaxtyping import Float

from unitrank_engine.job.units import PlaceUnits
from unitrank_schemas.heatmaps import heatmap_axes
from unitrank_schemas.methods import MethodBase


def heatmaps(
    entry: MethodBase, units: PlaceUnits, importance: Float[np.ndarray, "clusters units"], kept: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the heatmaps by name; `{}` where the ranking has none.

    `kept`: cluster's name → scores of its kept examples, `[examples, units]`.
    """
    place = units.place
    axes = heatmap_axes(entry.spatial, place.kind, units.kind, place.shape, place.channel_axis)
    if axes is None:
        return {}
    maps = {f"heatmap/{entry.id}": importance}
    maps |= {f"heatmap_examples/{entry.id}/{cluster}": scores for cluster, scores in kept.items()}
    channels = tuple(axis + 1 for axis in range(len(place.shape)) if axis not in axes)
    reduce = _summed if entry.spatial else _averaged
    return {name: reduce(values.reshape(-1, *place.shape), channels) for name, values in maps.items()}


def _summed(values: Float[np.ndarray, "maps *place"], channels: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.maximum(values.sum(channels, dtype=np.float64), 0.0))


def _averaged(values: Float[np.ndarray, "maps *place"], channels: tuple[int, ...]) -> np.ndarray:
    return np.asarray(values.mean(channels, dtype=np.float64) if channels else values)
