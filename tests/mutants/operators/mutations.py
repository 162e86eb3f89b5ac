"""Changes of an archive: arguments, operators, and the shapes and values of tensors.

The shapes that the archive gives to results stay as they were, and are false then.
"""

import json
import struct
from collections.abc import Callable, Iterator
from math import prod
from random import Random
from typing import Any

from tests.mutants import zips
from tests.mutants.operators.table import CALLS
from unitrank_engine.archive.description.tensors import ITEM_SIZES
from unitrank_engine.archive.entries import PROGRAM, WEIGHTS

_SMALL = [0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 1000, -1, -2, -3, -7]
_NUMBERS = [*_SMALL, 1 << 20, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 40, (1 << 63) - 1]
_REALS = [0.0, -1.0, 0.5, 1.5, 2.0, 1e-10, 1e10, 1e38, 1e300, -1e38, "NaN", "Infinity", "-Infinity"]
_WORDS = [
    *("circular", "constant", "reflect", "replicate", "mean", "sum", "prod", "amax", "amin"),
    *("none", "tanh", "trunc", "floor", "ij", "xy", "same", "valid"),
]
_TYPES = list(ITEM_SIZES)
_FORMATS = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 6: "e", 7: "f", 8: "d", 10: "f", 11: "d", 12: "?", 13: "H"}
"""A complex number is two numbers."""
_INTEGERS = (1, 2, 3, 4, 5)

# Any: the documents of an archive are JSON.
Document = Any


class Archive:
    """An archive that is open for changes."""

    def __init__(self, content: bytes) -> None:
        self.entries = dict(zips.contents(content))
        self.root = next(iter(self.entries)).partition("/")[0]
        self.program: Document = json.loads(self.entries[f"{self.root}/{PROGRAM}"])
        self.weights: Document = json.loads(self.entries[f"{self.root}/{WEIGHTS}"])
        self.graph: Document = self.program["graph_module"]["graph"]
        # An archive need not hold the checks that torch adds.
        self.graph["nodes"] = [node for node in self.graph["nodes"] if "_assert_" not in node["target"]]

    def bytes(self) -> bytes:
        self.entries[f"{self.root}/{PROGRAM}"] = json.dumps(self.program).encode()
        self.entries[f"{self.root}/{WEIGHTS}"] = json.dumps(self.weights).encode()
        return zips.zipped(list(self.entries.items()))

    def calls(self) -> list[Document]:
        """The nodes that call an operator of the table; other nodes prepare inputs and results."""
        nodes: list[Document] = self.graph["nodes"]
        return [node for node in nodes if "OpOverload." in node["metadata"].get("torch_fn", "")] or nodes

    def tensor_names(self) -> list[str]:
        return list(self.graph["tensor_values"])

    def names_of_weights(self) -> dict[str, str]:
        """Name of the weight → its name in the graph."""
        specs = self.program["graph_module"]["signature"]["input_specs"]
        held = [spec.get("buffer") or spec.get("parameter") for spec in specs]
        return {spec.get("buffer_name") or spec.get("parameter_name"): spec["arg"]["name"] for spec in held if spec}


def mutate(random: Random, content: bytes) -> bytes:
    """The archive after one to three changes; one in eight stays as it is."""
    archive = Archive(content)
    for _ in range(random.choice([0, 1, 1, 1, 1, 2, 2, 3])):
        random.choice(_CHANGES)(random, archive)
    return archive.bytes()


def _argument(random: Random, archive: Archive) -> None:
    """Change one argument of a call."""
    inputs = random.choice(archive.calls())["inputs"]
    if not inputs:
        return
    given = random.choice(inputs)["arg"]
    kind, value = next(iter(given.items()))
    change = _BY_KIND.get(kind)
    if change:
        given[kind] = change(random, archive, value)
    elif kind == "as_none":
        given.clear()
        given.update(random.choice([{"as_int": _number(random, archive, 1)}, {"as_tensor": _tensor(random, archive, None)}]))


def _number(random: Random, archive: Archive, value: int) -> int:
    return random.choice([*_NUMBERS, value + 1, value - 1, -value, 2 * value])


def _numbers(random: Random, archive: Archive, values: list[int]) -> list[int]:
    return _list(random, values, lambda value: _number(random, archive, value), 1)


def _real(random: Random, archive: Archive, value: float) -> Any:
    return random.choice(_REALS)


def _tensor(random: Random, archive: Archive, value: Document) -> Document:
    return {"name": random.choice(archive.tensor_names())}


def _tensors(random: Random, archive: Archive, values: list[Document]) -> list[Document]:
    return _list(random, values, lambda value: _tensor(random, archive, value), {"name": archive.tensor_names()[0]})


def _optional_tensors(random: Random, archive: Archive, values: list[Document]) -> list[Document]:
    def other(value: Document) -> Document:
        return random.choice([{"as_none": True}, {"as_tensor": _tensor(random, archive, value)}])

    return _list(random, values, other, {"as_none": True})


def _list(random: Random, values: list[Any], other: Callable[[Any], Any], filler: Any) -> list[Any]:
    at = random.randrange(len(values) + 1)
    if at == len(values):
        return [*values, filler]
    pieces = [[other(values[at])], [other(values[at])], [other(values[at])], [], [values[at]] * 2]
    return [*values[:at], *random.choice(pieces), *values[at + 1 :]]


_BY_KIND: dict[str, Callable[[Random, Archive, Any], Any]] = {
    "as_int": _number,
    "as_ints": _numbers,
    "as_float": _real,
    "as_floats": lambda random, archive, values: _list(random, values, lambda value: random.choice(_REALS), 1.0),
    "as_bool": lambda random, archive, value: not value,
    "as_string": lambda random, archive, value: random.choice(_WORDS),
    "as_scalar_type": lambda random, archive, value: random.choice(_TYPES),
    "as_memory_format": lambda random, archive, value: random.choice([1, 2, 3, 4]),
    "as_tensor": _tensor,
    "as_tensors": _tensors,
    "as_optional_tensors": _optional_tensors,
}


def _fewer(random: Random, archive: Archive) -> None:
    """Leave out the last argument of a call."""
    inputs = random.choice(archive.calls())["inputs"]
    del inputs[-1:]


def _operator(random: Random, archive: Archive) -> None:
    """Call another operator with the same arguments."""
    random.choice(archive.calls())["target"] = f"torch.ops.aten.{random.choice(list(CALLS))}"


def _shape(random: Random, archive: Archive) -> None:
    """Give a weight another shape, type, strides or offset, and the bytes that it then needs."""
    weights = archive.names_of_weights()
    if not weights:
        return
    name = random.choice(list(weights))
    payload = archive.weights["config"][name]
    meta, shape = payload["tensor_meta"], [size["as_int"] for size in payload["tensor_meta"]["sizes"]]
    strides = None
    match random.randrange(8):
        case 0:
            meta["dtype"] = random.choice(_TYPES)
        case 1:
            strides = [random.choice([0, 1, 2, 3, 10]) for _ in shape]
        case 2:
            meta["storage_offset"] = {"as_int": random.choice([0, 1, 3, 7])}
        case _:
            sizes = [0, 1, 1, 2, 3, 17, 64]
            shape = _list(random, shape, lambda size: random.choice([*sizes, size + 1, max(size - 1, 0), 2 * size]), 1)
    _write(random, archive, payload, shape, strides)
    traced = archive.graph["tensor_values"][weights[name]]
    # One in four keeps its traced shape, which is false then.
    if random.random() < 0.75:
        traced.update(dtype=meta["dtype"], sizes=meta["sizes"], strides=meta["strides"], storage_offset=meta["storage_offset"])


def _write(random: Random, archive: Archive, payload: Document, shape: list[int], strides: list[int] | None) -> None:
    """Changes the shape of a weight; its bytes become random numbers."""
    meta = payload["tensor_meta"]
    if strides is None:
        strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1 if prod(shape) else 0
    count = max(reach, prod(shape)) + meta["storage_offset"]["as_int"]
    meta["sizes"], meta["strides"] = [{"as_int": size} for size in shape], [{"as_int": stride} for stride in strides]
    if count <= 1 << 20:
        letter = _FORMATS[meta["dtype"]]
        values = [
            _value(random, meta["dtype"], 3) for _ in range(count * ITEM_SIZES[meta["dtype"]] // struct.calcsize(f"<{letter}"))
        ]
        path = f"{archive.root}/data/weights/{payload['path_name']}"
        archive.entries[path] = struct.pack(f"<{len(values)}{letter}", *values)


def _value(random: Random, dtype: int, largest: int) -> Any:
    if dtype in _INTEGERS:
        return random.randrange(largest)
    return random.random() < 0.5 if dtype == 12 else random.randrange(16_000) if dtype == 13 else random.uniform(-2, 2)


def _values(random: Random, archive: Archive) -> None:
    """Replace values of a weight: positions outside a tensor, NaN and infinity."""
    weights = archive.names_of_weights()
    if not weights:
        return
    payload = archive.weights["config"][random.choice(list(weights))]
    dtype, path = payload["tensor_meta"]["dtype"], f"{archive.root}/data/weights/{payload['path_name']}"
    letter = _FORMATS[dtype]
    size = struct.calcsize(f"<{letter}")
    values = list(struct.unpack(f"<{len(archive.entries[path]) // size}{letter}", archive.entries[path]))
    for at in _some(random, len(values)):
        if dtype in _INTEGERS:
            low, high = (0, 255) if dtype == 1 else (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1)
            number = random.choice([*_NUMBERS, low, high])
            values[at] = min(max(number, low), high)
        elif dtype == 12:
            values[at] = not values[at]
        elif dtype == 13:
            values[at] = random.choice([0x7FC0, 0x7F80, 0xFF80, 0x7F7F, 0])
        else:
            values[at] = random.choice([float("nan"), float("inf"), -float("inf"), 0.0, 6e4, -1e-7])
    archive.entries[path] = struct.pack(f"<{len(values)}{letter}", *values)


def _some(random: Random, count: int) -> Iterator[int]:
    if count:
        few = [random.randrange(count) for _ in range(3)]
        yield from random.choice([range(count), few[:1], [count - 1], few])


def _input(random: Random, archive: Archive) -> None:
    """Change the type or an axis of an input, or of any other traced result."""
    traced = random.choice(list(archive.graph["tensor_values"].values()))
    if random.random() < 0.3:
        traced["dtype"] = random.choice(_TYPES)
    elif len(traced["sizes"]) > 1:
        traced["sizes"][random.randrange(1, len(traced["sizes"]))] = {"as_int": random.choice([0, 1, 2, 3, 9, 64])}


_CHANGES: list[Callable[[Random, Archive], None]] = [
    *[_argument] * 5,
    _fewer,
    _operator,
    *[_shape] * 4,
    *[_values] * 3,
    _input,
]
