"""Mutators of exported programs."""

import io
import json
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

import torch

from tests.engine.archive.networks import networks
from tests.mutants import Mutator, documents, raw, zips
from tests.mutants.documents import at, named
from unitrank_engine.archive.description.operators import OPERATORS
from unitrank_engine.archive.entries import CONSTANTS, PROGRAM, WEIGHTS

_TARGETS = sorted(OPERATORS)
_FOREIGN = [
    "torch.ops.aten.from_file.default",
    "torch.ops.aten.empty.memory_format",
    "torch.ops.aten.set_.source_Tensor",
    "torch.ops.higher_order.cond",
    "torch.ops.higher_order.wrap_with_set_grad_enabled",
    "torch.ops.aten.relu",
    "torch.ops.aten.relu.out",
    "builtins.eval",
    "os.system",
    "",
]
_FUNCTIONS = [
    "Add",
    "Mul",
    "Max",
    "Min",
    "Mod",
    "PythonMod",
    "FloorDiv",
    "CleanDiv",
    "CeilDiv",
    "ModularIndexing",
    "Pow",
    "And",
    "Not",
    "Equality",
]
_EXTENTS = [0, 1, 2, 3, 7, 64, 1 << 20, 1 << 31, 1 << 40, 1 << 47, 1 << 62, -1]


def honest() -> Iterator[tuple[str, bytes]]:
    """Every small network, exported with symbolic batches."""
    for name, (network, inputs) in networks().items():
        sink = io.BytesIO()
        with warnings.catch_warnings():
            # torch warns of its own LSTM and GRU.
            warnings.filterwarnings("ignore", "The tensor attributes .*_flat_weights", UserWarning)
            torch.export.save(
                torch.export.export(network, inputs, dynamic_shapes=tuple({0: torch.export.Dim.AUTO} for _ in inputs)), sink
            )
        yield name, sink.getvalue()


def _document(change: Callable[[Random, Any], None], *names: str) -> Mutator:
    """A mutator that changes one of the named JSON documents; the zip stays valid."""

    def mutate(random: Random, content: bytes) -> bytes:
        entries = dict(zips.contents(content))
        name = next(iter(entries)).partition("/")[0] + "/" + random.choice(names)
        document = json.loads(entries[name])
        for _ in range(random.choice([1, 1, 1, 2, 3])):
            change(random, document)
        entries[name] = documents.written(document)
        return zips.zipped(list(entries.items()))

    return mutate


def _tensor(random: Random, document: Any) -> None:
    """Change the description of a tensor: its type, sizes, strides or offset."""
    metas = [path for path in documents.places(document) if {"sizes", "strides"} <= set(_keys(at(document, path)))]
    if not metas:
        return
    meta = at(document, random.choice(metas))
    field = random.choice(["dtype", "sizes", "sizes", "strides", "strides", "storage_offset", "layout", "device", "requires_grad"])
    if field in ("sizes", "strides") and isinstance(meta[field], list) and meta[field]:
        axis = random.randrange(len(meta[field]))
        pieces = [[], [meta[field][axis]] * 2, [meta[field][axis]] * 70, [_extent(random)], [_extent(random)], [_extent(random)]]
        meta[field][axis : axis + 1] = deepcopy(random.choice(pieces))
    elif field == "dtype":
        meta[field] = random.randrange(-1, 32)
    elif field == "storage_offset":
        meta[field] = _extent(random)
    elif field in meta:
        documents.change(random, meta, (field,))


def _extent(random: Random) -> dict[str, Any]:
    if random.random() < 0.6:
        return {"as_int": random.choice(_EXTENTS)}
    return {"as_expr": {"expr_str": _expression(random), "hint": random.choice([None, {"as_int": random.choice(_EXTENTS)}])}}


def _size(random: Random, document: Any) -> None:
    """Replace a symbolic size by another expression."""
    paths = named(document, "expr_str")
    if paths:
        at(document, random.choice(paths)[:-1])["expr_str"] = _expression(random)


def _expression(random: Random, depth: int = 0) -> str:
    if depth > random.choice([0, 2, 5, 40]):
        if random.random() < 0.02:
            return random.choice(["1", "Integer('1')", "zoo", "Symbol('x')", "Integer(1 << 70)"])
        symbols = ["Symbol('s77', positive=True, integer=True)", "Symbol('s5')", "Symbol('s999999', negative=True, zero=True)"]
        return random.choice([*symbols, *(f"Integer({number})" for number in (0, 1, -1, 8, 9, 1 << 40, (1 << 63) - 1))])
    inner = [_expression(random, depth + random.choice([1, 1, 9])) for _ in range(random.choice([0, 1, 2, 2, 2, 2, 2, 3]))]
    return f"{random.choice(_FUNCTIONS)}({', '.join(inner)})"


def _node(random: Random, document: Any) -> None:
    """Change one node: its operator, arguments, outputs or position."""
    nodes = document["graph_module"]["graph"]["nodes"]
    if not nodes:
        return
    first, second = random.randrange(len(nodes)), random.randrange(len(nodes))
    node, other = nodes[first], deepcopy(nodes[second])
    match random.randrange(8):
        case 0 | 1:
            node["target"] = random.choice(_TARGETS)
        case 2:
            node["target"] = random.choice(_FOREIGN)
        case 3:
            node["inputs"] = other["inputs"]
        case 4:
            node["outputs"] = other["outputs"]
        case 5:
            nodes[first], nodes[second] = nodes[second], nodes[first]
        case 6:
            nodes.insert(first, other)
        case 7:
            documents.change(random, node)


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


MUTATORS: dict[str, Mutator] = {
    "bytes": raw.some_bytes,
    "pieces": raw.a_piece,
    "records": zips.records,
    "entries": zips.entries,
    "program": _document(documents.change, PROGRAM),
    "payloads": _document(documents.change, WEIGHTS, CONSTANTS),
    "tensors": _document(_tensor, PROGRAM, WEIGHTS, CONSTANTS),
    "sizes": _document(_size, PROGRAM),
    "nodes": _document(_node, PROGRAM),
}
