"""The arrays of a result as safetensors: floats as float32, integers as int64."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save

WIDTHS = {"f": np.float32, "i": np.int64, "u": np.int64}
"""Kind of a computed array → its type in a result."""

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


def encode_arrays(arrays: Arrays) -> bytes:
    """The arrays as safetensors. Raises ValueError for an array of other elements."""
    return save({name: _narrowed(name, array) for name, array in arrays.items()})


def _narrowed(name: str, array: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    if array.dtype.kind not in WIDTHS:
        raise ValueError(f"the array {name!r} holds {array.dtype}; a result can hold real numbers and integers only")
    return np.array(array, dtype=WIDTHS[array.dtype.kind], order="C", copy=None)
