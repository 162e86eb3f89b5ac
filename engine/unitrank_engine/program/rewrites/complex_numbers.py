"""Complex numbers without views of memory: their results do not depend on the memory layout."""

import torch
from torch import Tensor, fx

from unitrank_engine.errors import EngineError
from unitrank_engine.program.nodes import is_complex

aten = torch.ops.aten

WRITES = (aten.slice_scatter.default, aten.select_scatter.default)
"""Operators that write a part of a tensor. torch has their derivatives for real numbers only."""


def view_as_complex(x: Tensor) -> Tensor:
    """Complex numbers from the real and imaginary parts, which are the last axis of `x`.

    torch's operator needs the parts beside each other in the memory.
    """
    if not x.dim() or x.shape[-1] != 2:
        raise EngineError(
            "program_refused", f"view_as_complex gets the shape {list(map(str, x.shape))}; expected a last axis of 2 numbers"
        )
    result: Tensor = aten.complex.default(x.select(-1, 0), x.select(-1, 1))
    return result


def conj(x: Tensor) -> Tensor:
    """The conjugate numbers. torch's operator marks the same memory as conjugated.

    Real numbers stay as they are.
    """
    result: Tensor = aten._conj_physical.default(x) if x.is_complex() else aten.alias.default(x)
    return result


def resolved(x: Tensor) -> Tensor:
    """The same numbers: `conj` leaves no marks."""
    result: Tensor = aten.alias.default(x)
    return result


def write_in_parts(graph: fx.Graph) -> bool:
    """Replaces writes into complex tensors by writes into their real and imaginary parts.

    Returns whether there is such a write. The new nodes have no traces.
    """
    writes = [node for node in graph.nodes if node.target in WRITES and is_complex(node)]
    for node in writes:
        target, source, axis, *rest = node.args
        with graph.inserting_before(node):
            parts = [graph.call_function(aten.view_as_real.default, (tensor,)) for tensor in (target, source)]
            # An axis from the front: the parts are one more axis at the end.
            written = graph.call_function(node.target, (*parts, axis % node.meta["val"].dim(), *rest), node.kwargs)
            # The trace of aten.complex would fix the size of the batch.
            copy = graph.call_function(aten.clone.default, (written,), {"memory_format": torch.contiguous_format})
            result = graph.call_function(aten.view_as_complex.default, (copy,))
        for new in (*parts, written, copy, result):
            new.meta = dict(node.meta)
        node.replace_all_uses_with(result)
        graph.erase_node(node)
    return bool(writes)
