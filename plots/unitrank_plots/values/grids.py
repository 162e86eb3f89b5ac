"""The grid of a heatmap: scores in the shape of the layer or of the input image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_plots.choice import Arrays, Choice, NoPicture
from unitrank_schemas.methods import METHODS
from unitrank_schemas.results import Ranking, Result

MOST_LISTED = 5
"""Layers that a message names."""


def grid(
    result: Result, arrays: Arrays, choice: Choice, ranking: Ranking, row: int, cluster: str
) -> tuple[NDArray[np.float64], str]:
    """A grid of two axes, and the words in the title for its channels. Raises NoPicture."""
    if result.layer.parts:
        layers = ", ".join(part.layer for part in result.layer.parts[:MOST_LISTED])
        raise NoPicture(
            "no_heatmap", f"the units of all layers together cannot be drawn as an image; take the heatmap of one layer: {layers}"
        )
    computed = f"heatmap/{ranking.id}" if choice.example is None else f"heatmap_examples/{ranking.id}/{cluster}"
    if choice.channel is None and computed in arrays:
        return _flat(_row_or_example(arrays[computed], row, choice)), _reduction(result, ranking)
    if choice.example is None:
        values = arrays[f"importance/{ranking.id}"][row].reshape(result.layer.shape)
    else:
        name = f"examples/{ranking.id}/{cluster}"
        if name not in arrays:
            raise NoPicture("no_examples", "the job kept no scores of single examples; post it with `keep_examples`")
        values = _row_or_example(arrays[name], row, choice).reshape(result.layer.shape)
    if result.layer.units == "position":
        # A position has all channels, so that the scores are the heatmap.
        return _of_channel(_flat(values), choice, 0)
    return _of_channel(values, choice, result.layer.channel_axis or 0)


def _reduction(result: Result, ranking: Ranking) -> str:
    """The words in the title for how `unitrank_engine.result.heatmaps` reduced the channels."""
    method = METHODS.get(ranking.method["name"])
    if method is not None and method.spatial:
        return "sum over channels, negative values set to zero"
    shape = result.layer.shape
    return "mean over channels" if len(shape) > 2 and shape[result.layer.channel_axis or 0] > 1 else ""


def _row_or_example(values: NDArray[Any], row: int, choice: Choice) -> NDArray[Any]:
    """The values of the cluster, or of the chosen example. Raises NoPicture."""
    if choice.example is None:
        return np.asarray(values[row])
    if not 0 <= choice.example < len(values):
        raise NoPicture("example_not_found", f"example {choice.example} was not kept; choose 0 to {len(values) - 1}")
    return np.asarray(values[choice.example])


def _of_channel(values: NDArray[Any], choice: Choice, axis: int) -> tuple[NDArray[np.float64], str]:
    """The grid of the chosen channel or of the sum over all, and the words for it in the title.

    `axis`: the axis of the channels.
    """
    if values.ndim < 3:
        if choice.channel is not None:
            raise NoPicture("channel_not_found", "the layer has no channels to choose from; leave `channel` out")
        return _flat(values), ""
    if choice.channel is None:
        # All channels at a position belong to the same part of the input.
        return _flat(values.astype(np.float64).sum(axis)), "sum over channels" if values.shape[axis] > 1 else ""
    if not 0 <= choice.channel < values.shape[axis]:
        raise NoPicture("channel_not_found", f"channel {choice.channel} not found; choose 0 to {values.shape[axis] - 1}")
    return _flat(values.take(choice.channel, axis)), f"channel {choice.channel}"


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    """The values as rows and columns: one axis gives one row; planes of more axes are stacked."""
    grid = np.asarray(values, np.float64)
    return grid.reshape(-1, grid.shape[-1]) if grid.ndim else grid.reshape(1, 1)
