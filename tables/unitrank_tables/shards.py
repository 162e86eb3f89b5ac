"""Joins several tables into one; their rows follow each other."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from unitrank_tables.columns import ColumnInfo
from unitrank_tables.elements import Rows
from unitrank_tables.errors import BadTable
from unitrank_tables.sizes import MiB
from unitrank_tables.table import Table, open_table

BLOCK = 16 * MiB


class Sink(Protocol):
    """Takes the bytes of the joined table, in order."""

    def write(self, data: bytes) -> object: ...

    def flush(self) -> object: ...


@dataclass(frozen=True)
class Shard:
    """One of the joined tables. `name`: its name in the messages of errors.

    `join` opens one shard at a time, because there can be thousands.
    """

    name: str
    path: Path


def join(shards: Sequence[Shard], sink: Sink, limit: int) -> None:
    """Write an uncompressed npz with the rows of all shards; equal tables give equal bytes.

    `limit`: bytes of unpacked data.
    Raises BadTable: with the code `unequal_shards` if fields differ in name, element type or shape
    (strings may differ in width), with `dataset_too_large`, and with the error of a shard.
    """
    fields, rows = _headers(shards, limit)
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # ZipFile uses no other methods of a file
        for field, info in fields.items():
            element = _element(field, info, shards, limit)
            _check_size(rows * element.itemsize * int(np.prod([size or 1 for size in info["shape"][1:]])), limit)
            with archive.open(zipfile.ZipInfo(f"{field}.npy"), "w", force_zip64=True) as member:
                header = {
                    "descr": np.lib.format.dtype_to_descr(element),
                    "fortran_order": False,
                    "shape": (rows, *info["shape"][1:]),
                }
                np.lib.format.write_array_header_1_0(member, header)
                for block in _blocks(field, shards, limit, element.itemsize):
                    member.write(block.astype(element, copy=False).tobytes())


def _headers(shards: Sequence[Shard], limit: int) -> tuple[dict[str, ColumnInfo], int]:
    """The fields, equal in all shards, and the number of rows of all shards together."""
    first: dict[str, ColumnInfo] = {}
    rows = size = 0
    for shard in shards:
        with _opened(shard, limit) as table:
            first = first or table.fields
            check_alike(shards[0].name, first, shard.name, table.fields)
            rows += table.examples
            size += sum(table.bytes(field) for field in table.fields)
        _check_size(size, limit)
    return first, rows


def _opened(shard: Shard, limit: int) -> Table:
    try:
        return open_table(shard.path, limit)
    except BadTable as error:
        raise BadTable(error.code, f"in {shard.name!r}: {error.detail}") from error


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise BadTable("dataset_too_large", f"the shards take {size} bytes together when unpacked; at most {limit} are allowed")


def check_alike(name: str, first: dict[str, ColumnInfo], other_name: str, other: dict[str, ColumnInfo]) -> None:
    """Raise BadTable `unequal_shards` if two shards differ in a field."""
    if first == other:
        return
    fields = [*first, *(field for field in other if field not in first)]
    field = next(field for field in fields if first.get(field) != other.get(field))
    expected, given = _described(first.get(field)), _described(other.get(field))
    detail = f"field {field!r} is {expected} in {name!r} and {given} in {other_name!r}; all shards must have the same fields"
    raise BadTable("unequal_shards", detail)


def _described(info: ColumnInfo | None) -> str:
    return "missing" if info is None else f"{info['dtype']} {info['shape']}"


def _element(field: str, info: ColumnInfo, shards: Sequence[Shard], limit: int) -> "np.dtype[np.generic]":
    """The element type of the joined field; strings get the width of the widest one."""
    if info["dtype"] != "str":
        return np.dtype(info["dtype"])
    widest = max(rows.dtype.itemsize for rows in _blocks(field, shards, limit, 1))
    return np.dtype(f"U{max(widest // 4, 1)}")


def _blocks(field: str, shards: Sequence[Shard], limit: int, width: int) -> Iterator[Rows]:
    """The rows of all shards, in blocks of about `BLOCK` bytes.

    `width`: bytes of a joined element.
    """
    for shard in shards:
        with _opened(shard, limit) as table:
            elements = int(np.prod([size or 1 for size in table.fields[field]["shape"][1:]]))
            count = max(1, BLOCK // max(table.bytes(field) // table.examples, elements * width, 1))
            for start in range(0, table.examples, count):
                yield table.read(field, slice(start, start + count))
