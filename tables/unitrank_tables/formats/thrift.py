"""Reads Thrift's compact protocol, in which Parquet writes its footer, without native code.

The service reads footers of files that clients name, so no length or count in them is trusted.
"""

import struct
from typing import Any

from unitrank_tables.errors import BadTable

MOST_VALUES = 2_000_000
MOST_LEVELS = 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_WHOLE = (4, 5, 6)
"""Types of whole numbers of 16, 32 and 64 bits."""

Struct = dict[int, Any]
"""Number of a field → its value. Any: whole numbers, bytes, lists and structs."""


def read_struct(content: bytes) -> Struct:
    """The struct at the start of the bytes. Raises BadTable `header_mismatch`."""
    try:
        return _Reader(content).struct(0)
    except (IndexError, struct.error) as error:
        raise _broken("it ends too early") from error


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._values = 0

    def struct(self, level: int) -> Struct:
        if level > MOST_LEVELS:
            raise _broken(f"it has more than {MOST_LEVELS} levels")
        fields: Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._whole()
            kind = head & 15
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, level)
        return fields

    def _value(self, kind: int, level: int) -> Any:
        self._values += 1
        if self._values > MOST_VALUES:
            raise _broken(f"it has more than {MOST_VALUES} values")
        if kind in _WHOLE:
            return self._whole()
        if kind == _STRUCT:
            return self.struct(level + 1)
        if kind in (_LIST, _SET):
            return self._list(level)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _DOUBLE:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind == _MAP:
            return self._map(level)
        raise _broken(f"it has a value of the unknown type {kind}")

    def _list(self, level: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 != 15 else self._varint()
        # An element has at least one byte.
        if count > len(self._content) - self._at or level > MOST_LEVELS:
            raise _broken(f"it claims a list of {count} values")
        return [self._value(head & 15, level + 1) for _ in range(count)]

    def _map(self, level: int) -> None:
        """Skip a map: Parquet has none."""
        count = self._varint()
        if count > len(self._content) - self._at or level > MOST_LEVELS:
            raise _broken(f"it claims a map of {count} entries")
        kinds = self._byte() if count else 0
        for _ in range(count):
            self._value(kinds >> 4, level + 1)
            self._value(kinds & 15, level + 1)

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        if size > len(self._content) - self._at:
            raise _broken(f"it claims a text of {size} bytes")
        self._at += size
        return self._content[self._at - size : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise _broken("it has a number of more than 64 bits")

    def _whole(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _broken(why: str) -> BadTable:
    return BadTable("header_mismatch", f"the footer of the Parquet file cannot be read: {why}")
