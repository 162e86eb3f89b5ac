"""Shapes that torch's kernels take on trust: a wrong one makes them read in memory that is not theirs, and so in that of others.

To be asked of a graph that was traced anew: what an archive says of its shapes can be a lie.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from unitrank_engine.archive.errors import ArchiveError
from unitrank_engine.torch_private import argument_names

aten = torch.ops.aten

# Arguments by name: nodes, numbers, None.
Given = Mapping[str, Any]


def check_bounds(graph: fx.Graph) -> None:
    """Nothing, where no call reaches beyond its tensors. Raises ArchiveError."""
    for node in graph.nodes:
        check = _CHECKS.get(node.target)
        if check is not None:
            names = argument_names(node.target)
            check(node, dict(zip(names, node.args, strict=False)) | node.kwargs)


def _batch_norm(node: fx.Node, given: Given) -> None:
    channels = _shape(given["input"])[1:2]
    for name in ("weight", "bias", "running_mean", "running_var"):
        if given.get(name) is not None and _shape(given[name]) != channels:
            _refuse(node, f"numbers of the shape {_shape(given[name])} for {channels} channels", "one for each channel")


def _weight_norm(node: fx.Node, given: Given) -> None:
    v, g, axis = given["v"], given["g"], given.get("dim", 0)
    shape = _shape(v)
    kept = ["1"] * len(shape)
    if axis in (0, len(shape) - 1) and shape:
        kept[axis] = shape[axis]
        if _shape(g) != kept or "0" in shape or g.meta["val"].dtype != v.meta["val"].dtype:
            _refuse(node, f"lengths of the shape {_shape(g)} for weights of the shape {shape}", f"the shape {kept}")


def _attention(node: fx.Node, given: Given) -> None:
    key, value = _shape(given["key"]), _shape(given["value"])
    if key[-2:-1] != value[-2:-1]:
        _refuse(node, f"keys of the shape {key} for values of the shape {value}", "as many of both")


def _bags(node: fx.Node, given: Given) -> None:
    shape = _shape(given["offsets"])
    if len(shape) != 1 or shape == ["0"] or len(_shape(given["indices"])) != 1 or len(_shape(given["weight"])) != 2:
        _refuse(node, f"bags that begin at a tensor of the shape {shape}", "one number for each bag, of a list of rows")


_CHECKS: dict[object, Callable[..., None]] = {
    aten._native_batch_norm_legit_no_training.default: _batch_norm,
    aten._weight_norm.default: _weight_norm,
    aten.scaled_dot_product_attention.default: _attention,
    aten.embedding_bag.default: _bags,
    aten.embedding_bag.padding_idx: _bags,
}


def _shape(node: fx.Node) -> list[str]:
    # As text: to compare a batch symbol itself would make it a number.
    return [str(size) for size in node.meta["val"].shape]


def _refuse(node: fx.Node, found: str, expected: str) -> None:
    raise ArchiveError("weights_refused", f"{node.name} ({node.target}) has {found}; expected {expected}")
