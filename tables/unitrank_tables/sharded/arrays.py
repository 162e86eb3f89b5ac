"""Rows of one npz or safetensors shard: each row of a field is a fixed number of bytes."""

import math
from collections.abc import Sequence

import numpy as np

from unitrank_tables.columns import Column, ColumnInfo
from unitrank_tables.elements import Element, Rows, npy_element, safetensors_element
from unitrank_tables.sharded.index import ShardEntry
from unitrank_tables.sharded.ranges import MOST_AT_ONCE, ByteRange, runs

_BFLOAT16 = "BF16"


class ArrayShard:
    """The rows of one shard. `number`: its position in the index."""

    def __init__(self, number: int, entry: ShardEntry, fields: dict[str, ColumnInfo]) -> None:
        self._number = number
        self._entry = entry
        self._fields = fields

    def width(self, field: str) -> int:
        """Bytes of a row of the field."""
        return self._element(field).stored.itemsize * math.prod(self._shape(field))

    def reach(self, field: str, row: int) -> int:
        """The end of a read that begins at `row` and has a bounded number of bytes."""
        return row + max(1, MOST_AT_ONCE // max(self.width(field), 1))

    def plan(self, field: str, rows: np.ndarray) -> list[ByteRange]:
        """The ranges that hold these ascending rows."""
        offset, width = self._entry.columns[field][1], self.width(field)
        return [
            ByteRange(self._number, offset + first * width, offset + last * width) for first, last in runs(rows, width) if width
        ]

    def decode(self, field: str, rows: np.ndarray, pieces: Sequence[bytes]) -> Rows:
        """These ascending rows. `pieces`: the bytes of each range of `plan`."""
        element, shape, width = self._element(field), self._shape(field), self.width(field)
        if not width:
            return np.empty((len(rows), *shape), element.stored.newbyteorder("="))
        parts = []
        for (first, last), piece in zip(runs(rows, width), pieces, strict=True):
            block = np.frombuffer(piece, element.stored).reshape(last - first, *shape)
            start, stop = np.searchsorted(rows, [first, last])
            parts.append(block if stop - start == last - first else block[rows[start:stop] - first])
        return element.decode(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _element(self, field: str) -> Element:
        descr = self._entry.columns[field][0]
        return safetensors_element(field, descr) if descr == _BFLOAT16 else npy_element(field, descr)

    def _shape(self, field: str) -> list[int]:
        return [size for size in self._fields[field]["shape"][1:] if size is not None]


def stored_column(column: Column) -> tuple[str, int]:
    """The column as the entry of a shard describes it: type in the file, and offset."""
    widened = column.element.public == "float32" and column.element.stored.kind == "u"
    return (_BFLOAT16 if widened else column.element.stored.str), column.offset


def is_in_order(column: Column) -> bool:
    """Whether the bytes of each row follow each other in the file."""
    return not column.fortran or len(column.shape) == 1
