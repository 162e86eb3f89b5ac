"""The arrays of one result in a local file, which is read piece by piece."""

import json
import math
import os
from collections.abc import Mapping
from copy import copy
from types import TracebackType
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
"""Name of a type in a safetensors file → NumPy's type. `encode_arrays` writes no other types."""


BLOCK = 2**18
"""Elements that are copied at a time."""


class ArrayPlace(NamedTuple):
    """The type and shape of an array. `offset`: the byte of the file where its elements begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The bytes of all elements."""
        return self.elements * self.dtype.itemsize


class ArrayFile:
    """Arrays in a safetensors file that `encode_arrays` wrote. Threads may share it.

    `file`: the open file; `close` closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        length = int.from_bytes(os.pread(file.fileno(), 8, 0), "little")
        header = json.loads(os.pread(file.fileno(), length, 8))
        header.pop("__metadata__", None)
        self.arrays = {
            name: ArrayPlace(TYPES[entry["dtype"]], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
            for name, entry in header.items()
        }
        """Name → place of every array, in the file's order."""

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def select(self, names: Mapping[str, str]) -> "ArrayFile":
        """Return some arrays of the same open file. `names`: new name → the present name."""
        selected = copy(self)
        selected.arrays = {name: self.arrays[present] for name, present in names.items()}
        return selected

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return the elements `start` to `stop` of an array, counted in row-major order."""
        place = self.arrays[name]
        width = place.dtype.itemsize
        data = os.pread(self._file.fileno(), (stop - start) * width, place.offset + start * width)
        return np.frombuffer(data, place.dtype)

    def mapped(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name. The system reads an element from the file when it is used."""
        return {name: self._mapped(place) for name, place in self.arrays.items()}

    def _mapped(self, place: ArrayPlace) -> NDArray[Any]:
        if not place.elements:
            # An empty part of a file cannot be mapped.
            return np.empty(place.shape, place.dtype)
        return np.memmap(self._file, place.dtype, "r", place.offset, place.shape)

    def write_npy(self, name: str, sink: IO[bytes]) -> None:
        """Write an array to a file of the format npy, one block after the other."""
        place = self.arrays[name]
        header = {"descr": place.dtype.str, "fortran_order": False, "shape": place.shape}
        np.lib.format.write_array_header_1_0(sink, header)
        for start in range(0, place.elements, BLOCK):
            sink.write(self.read(name, start, min(start + BLOCK, place.elements)).tobytes())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
