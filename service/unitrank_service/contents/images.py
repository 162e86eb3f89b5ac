"""A row of a dataset as a picture: the layout of its axes, and the range of its values."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unitrank_service.errors import HttpProblem
from unitrank_tables.columns import ColumnInfo

Channels = Literal["first", "last", "none"]
COLOURS = (1, 3)
"""Numbers of channels that a picture can have."""
MOST_PIXELS = 4096 * 4096
LEVELS = 255
"""The value of white in a picture."""


@dataclass(frozen=True)
class Undo:
    """The preprocessing that is undone before a picture is drawn: x · std + mean, divided by scale.

    Each has one number, or one for each channel.
    """

    scale: Sequence[float] = (1.0,)
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def applied(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the pixels, `[height, width, channels]`, as they were before the preprocessing.

        Raises HttpProblem where a list has neither one number nor one for each channel.
        """
        for name in ("scale", "mean", "std"):
            count = len(getattr(self, name))
            if count not in (1, pixels.shape[2]):
                detail = (
                    f"`{name}` has {count} numbers, and the picture has {pixels.shape[2]} channels; give one number, or one each"
                )
                raise HttpProblem("invalid_request", detail)
        if 0 in self.scale:
            raise HttpProblem("invalid_request", "`scale` is 0, which cannot be undone; leave it out, or give another number")
        return np.asarray((pixels * np.array(self.std) + np.array(self.mean)) / np.array(self.scale), np.float64)


NO_UNDO = Undo()


def channels_of(shape: Sequence[int | None]) -> Channels | None:
    """Where a field's rows have their channels; None where a row is not an image.

    `shape`: of the field; its first axis counts the rows.

    >>> channels_of([None, 3, 32, 32]), channels_of([None, 32, 32, 3]), channels_of([None, 28, 28])
    ('first', 'last', 'none')
    >>> channels_of([None, 16, 32, 32]) is None
    True
    """
    axes = [length or 0 for length in shape[1:]]
    if len(axes) == 2:
        return "none" if min(axes) > 1 else None
    if len(axes) != 3 or min(axes) < 1:
        return None
    if axes[0] in COLOURS and min(axes[1:]) > 1:
        return "first"
    return "last" if axes[2] in COLOURS and min(axes[:2]) > 1 else None


def image_field(fields: dict[str, ColumnInfo]) -> str | None:
    """The first field whose rows are images; None where there is no such field."""
    return next((name for name, info in fields.items() if info["dtype"] != "str" and channels_of(info["shape"])), None)


def pixels_of(values: NDArray[Any], channels: Channels) -> NDArray[Any]:
    """Return the values of an image as `[height, width, channels]`."""
    if channels == "none":
        return values[:, :, None]
    return np.moveaxis(values, 0, 2) if channels == "first" else values


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """Return the values that are black and white: 0 and 255, 0 and 1, or the smallest and largest.

    >>> limits(np.array([0.0, 0.5])), limits(np.array([3, 200])), limits(np.array([-2.0, 1.0]))
    ((0.0, 1.0), (0.0, 255.0), (-2.0, 1.0))
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if values.dtype.kind in "iu":
        return (0.0, float(LEVELS)) if low >= 0 and high <= LEVELS else (low, high)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (0.0, float(LEVELS)) if low >= 0 and high <= LEVELS else (low, high)


def picture(values: NDArray[Any], channels: Channels, undo: Undo = NO_UNDO) -> NDArray[np.uint8]:
    """Return the image as numbers from 0 to 255, `[height, width, channels]`.

    NaN is black. Raises HttpProblem as `Undo.applied` does.
    """
    pixels = pixels_of(values, channels)
    original = pixels.astype(np.float64) if undo == NO_UNDO else undo.applied(pixels)
    low, high = limits(pixels if undo == NO_UNDO else original)
    shares = (original - low) / ((high - low) or 1.0)
    return np.asarray(np.rint(LEVELS * np.clip(np.nan_to_num(shares), 0, 1)), np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the picture as a PNG file."""
    # Pillow takes 30 ms to load, and only pictures need it.
    from PIL import Image

    sink = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(sink, "PNG")
    return sink.getvalue()
