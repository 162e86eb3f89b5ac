"""The columns of an affine part: the change of its value when one element of the place grows by 1.

The columns of a dense layer are its weights. Those of other operations do not depend on the
example, so they are measured on the job's first one. That takes one forward pass for each element
of the place, or one backward pass for each element of the value. The way with fewer passes is
used.

For the 1600 elements after the second convolution of the paper's net and the 128 values behind,
forward passes take 7.7 ms, backward passes 1.6 ms, and reading the weights 0.5 ms.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.context import JobContext
from unitrank_engine.program import Split
from unitrank_engine.program.gradients import passes_gradients
from unitrank_engine.program.linearity.dense_part import dense_part
from unitrank_engine.program.nodes import is_complex
from unitrank_engine.program.split import Live

PROBE = 2.0**40
"""The value that an element gets when its column is measured.

The division by a power of two is exact. The value is so large that all terms added to column ·
PROBE are below its rounding, so the column loses no digit.
"""


def columns(split: Split, rest: Split, context: JobContext, elements: Int[Tensor, " units"]) -> Float[Tensor, "units *value"]:
    """Return the change of the affine part's value when each of these elements grows by 1.

    `split`: from the place to the end of the affine part. `rest`: the part behind.
    """
    first_example = tuple(tensor[:1] for tensor in context.examples.inputs(context.clusters[0].rows[:1]))
    dense = dense_part(context.program, split.place, rest.place.node)
    if dense is not None:
        return dense.matrix(first_example)[elements]
    h, live = split.head(first_example)
    if rest.place.units < len(elements) and _slopes_are_gradients(split):
        return _by_gradients(split, rest, h, live)[elements]
    return _by_probes(split, rest, h, live, elements)


def _slopes_are_gradients(split: Split) -> bool:
    """Return whether all operators pass gradients, and all values are real."""
    nodes = split.behind.graph.nodes
    return all(passes_gradients(node) and not is_complex(node) for node in nodes)


def _by_gradients(split: Split, rest: Split, h: Tensor, live: Live) -> Float[Tensor, "elements *value"]:
    values, pieces = torch.arange(rest.place.units, device=h.device), []
    for chosen in torch.split(values, _passes_at_once(split, h.device)):
        zeros = torch.zeros(len(chosen), *split.place.shape, dtype=h.dtype, device=h.device, requires_grad=True)
        value = split.tail(zeros, live).movedim(rest.place.batch_axis, 0).reshape(len(chosen), -1)
        (slopes,) = torch.autograd.grad(value.gather(1, chosen[:, None]).sum(), zeros)
        pieces.append(slopes.flatten(1))
    return torch.cat(pieces).T.contiguous().reshape(-1, *rest.place.shape)


def _by_probes(split: Split, rest: Split, h: Tensor, live: Live, elements: Int[Tensor, " units"]) -> Float[Tensor, "units *value"]:
    place, axis, pieces = split.place, rest.place.batch_axis, []
    with torch.no_grad():
        at_zero = split.tail(torch.zeros_like(h), live).movedim(axis, 0)
        for chosen in torch.split(elements, _passes_at_once(split, h.device)):
            probes = torch.zeros(len(chosen), place.units, dtype=h.dtype, device=h.device)
            probes[torch.arange(len(chosen)), chosen] = PROBE
            outputs = split.tail(probes.reshape(-1, *place.shape), live).movedim(axis, 0)
            pieces.append((outputs - at_zero) / PROBE)
    return torch.cat(pieces)


def _passes_at_once(split: Split, device: torch.device) -> int:
    return max(1, rows_behind(split, device)) if split.repeatable else 1
