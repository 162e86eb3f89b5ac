"""Several tables as one, the rows of each behind those of the one before."""

import zipfile
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from store.errors import BadTable
from store.settings import MiB
from store.tables.columns import FieldInfo
from store.tables.elements import Rows
from store.tables.table import Table

BLOCK = 16 * MiB


class Sink(Protocol):
    """Takes the bytes of the whole, in order."""

    def write(self, data: bytes) -> object: ...

    def flush(self) -> object: ...


def join(names: Sequence[str], tables: Sequence[Table], sink: Sink) -> None:
    """Write an uncompressed npz with all rows; equal tables make equal bytes. `names`: what a problem calls the tables.

    Raises BadTable `unequal_shards` where the fields differ in name, element type or shape; strings may differ in width.
    """
    first = tables[0]
    for name, table in zip(names[1:], tables[1:], strict=True):
        _check_alike(names[0], first, name, table)
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # it asks for no more than a sink has
        for field, info in first.fields.items():
            with archive.open(zipfile.ZipInfo(f"{field}.npy"), "w", force_zip64=True) as member:
                element = _element(field, info, tables)
                shape = (sum(table.examples for table in tables), *info["shape"][1:])
                header = {"descr": np.lib.format.dtype_to_descr(element), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for rows in _blocks(field, tables):
                    member.write(rows.astype(element, copy=False).tobytes())


def _check_alike(name: str, first: Table, other_name: str, other: Table) -> None:
    if first.fields == other.fields:
        return
    fields = [*first.fields, *(field for field in other.fields if field not in first.fields)]
    field = next(field for field in fields if first.fields.get(field) != other.fields.get(field))
    one, two = _said(first.fields.get(field)), _said(other.fields.get(field))
    detail = f"field {field!r} is {one} in {name!r} and {two} in {other_name!r}; all shards must have the same fields"
    raise BadTable("unequal_shards", detail)


def _said(info: FieldInfo | None) -> str:
    return "missing" if info is None else f"{info['dtype']} {info['shape']}"


def _element(field: str, info: FieldInfo, tables: Sequence[Table]) -> "np.dtype[np.generic]":
    """As the rows are read; strings as wide as the widest."""
    if info["dtype"] != "str":
        return np.dtype(info["dtype"])
    widest = max(rows.dtype.itemsize for rows in _blocks(field, tables))
    return np.dtype(f"U{max(widest // 4, 1)}")


def _blocks(field: str, tables: Sequence[Table]) -> Iterator[Rows]:
    for table in tables:
        count = max(1, BLOCK // max(table.bytes(field) // table.examples, 1))
        for start in range(0, table.examples, count):
            yield table.read(field, slice(start, start + count))
