"""Datasets inside a request: nested lists become the bytes of an npz.

Equal lists give equal bytes.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unitrank_tables.columns import MAX_AXES
from unitrank_tables.elements import Rows
from unitrank_tables.errors import BadTable
from unitrank_tables.formats.npz_writer import write_npz
from unitrank_tables.sizes import MiB

# numpy stores all strings of a field with the width of the longest one: a request of 1 MiB could
# take 200 GB.
UNPACKED_LIMIT = 64 * MiB
_KINDS: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}
_INT64 = (-(2**63), 2**63 - 1)
_FLOAT32 = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def encode_inline(fields: Mapping[str, object]) -> bytes:
    """An npz with whole numbers as int64, others as float32, booleans, and strings.

    Raises BadTable with a pointer to the wrong value, such as `/fields/x/3/0`.
    """
    if not fields:
        raise BadTable("no_fields", "the dataset has no fields; expected at least one", "/fields")
    arrays = {name: _array(values, f"/fields/{_escaped(name)}") for name, values in sorted(fields.items())}
    _check_lengths(arrays)
    return _npz(arrays)


def _array(values: object, pointer: str) -> Rows:
    shape = _shape(values, pointer)
    leaves = list(_leaves(values, shape, pointer))
    kind = _kind(leaves, shape, pointer)
    if kind == "string":
        return _strings(leaves, shape, pointer)
    if kind == "boolean":
        return np.array(leaves, dtype=np.bool_).reshape(shape)
    whole = all(type(leaf) is int for leaf in leaves)
    _check_range(leaves, shape, _INT64 if whole else _FLOAT32, pointer)
    return np.array(leaves, dtype=np.int64 if whole else np.float32).reshape(shape)


def _shape(values: object, pointer: str) -> tuple[int, ...]:
    """The shape of the nested lists, read from the first element of each level."""
    if not isinstance(values, list):
        raise BadTable("ragged_field", f"expected a list with one row for each example, got {_described(values)}", pointer)
    shape: list[int] = []
    first: object = values
    while isinstance(first, list):
        if not first:
            code = "ragged_field" if shape else "no_examples"
            raise BadTable(code, "the list is empty; expected at least one element", pointer + "/0" * len(shape))
        shape.append(len(first))
        first = first[0]
    if len(shape) > MAX_AXES:
        raise BadTable("ragged_field", f"lists are nested {len(shape)} deep; at most {MAX_AXES} levels are allowed", pointer)
    return tuple(shape)


def _leaves(values: object, shape: Sequence[int], pointer: str) -> Iterator[object]:
    if not shape:
        if isinstance(values, list):
            raise BadTable("ragged_field", "got a list; expected a single value, as in the first row", pointer)
        yield values
        return
    if not isinstance(values, list) or len(values) != shape[0]:
        raise BadTable("ragged_field", f"got {_described(values)}; expected a list of {shape[0]}, as in the first row", pointer)
    for index, value in enumerate(values):
        yield from _leaves(value, shape[1:], f"{pointer}/{index}")


def _kind(leaves: Sequence[object], shape: Sequence[int], pointer: str) -> str:
    first = _KINDS.get(type(leaves[0]), "")
    for index, leaf in enumerate(leaves):
        kind = _KINDS.get(type(leaf))
        if kind is None or kind != first:
            expected = f"a {first}, as in the first row" if kind else "numbers, booleans or strings"
            raise BadTable("unsupported_value", f"got {_described(leaf)}; expected {expected}", _at(index, shape, pointer))
    return first


# Any: `_kind` has checked that all leaves are numbers.
def _check_range(leaves: Sequence[Any], shape: Sequence[int], bounds: tuple[float, float], pointer: str) -> None:
    low, high = bounds
    for index, leaf in enumerate(leaves):
        if not low <= leaf <= high:
            raise BadTable("out_of_range", f"the number must be from {low} to {high}", _at(index, shape, pointer))


def _strings(leaves: Sequence[Any], shape: Sequence[int], pointer: str) -> Rows:
    width = max(1, max(map(len, leaves)))
    if width * 4 * len(leaves) > UNPACKED_LIMIT:
        detail = (
            f"{len(leaves)} strings, each as wide as the longest one ({width} characters), "
            f"take {width * 4 * len(leaves)} bytes; at most {UNPACKED_LIMIT} are allowed"
        )
        raise BadTable("dataset_too_large", detail, pointer)
    for index, leaf in enumerate(leaves):
        # numpy drops NULs at the end of a string. A single surrogate cannot be encoded in a file.
        if "\0" in leaf or any("\ud800" <= letter <= "\udfff" for letter in leaf):
            raise BadTable(
                "bad_text", "the string holds NUL or a single surrogate, which cannot be stored", _at(index, shape, pointer)
            )
    return np.array(leaves, dtype=f"U{width}").reshape(shape)


def _check_lengths(arrays: Mapping[str, Rows]) -> None:
    first, *others = arrays
    for name in others:
        if len(arrays[name]) != len(arrays[first]):
            lengths = f"got {len(arrays[name])} rows, but field {first!r} has {len(arrays[first])}"
            detail = f"{lengths}; all fields must have the same number"
            raise BadTable("unequal_lengths", detail, f"/fields/{_escaped(name)}")


def _npz(arrays: Mapping[str, Rows]) -> bytes:
    sink = io.BytesIO()
    write_npz(sink, arrays)
    return sink.getvalue()


def _at(index: int, shape: Sequence[int], pointer: str) -> str:
    """The pointer to the element that has this index in row-major order."""
    positions: list[int] = []
    for size in reversed(shape):
        index, position = divmod(index, size)
        positions.append(position)
    return pointer + "".join(f"/{position}" for position in reversed(positions))


def _described(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    kind = _KINDS.get(type(value))
    return f"a {kind}" if kind else "null" if value is None else "an object"


def _escaped(name: str) -> str:
    """The name, escaped for a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")
