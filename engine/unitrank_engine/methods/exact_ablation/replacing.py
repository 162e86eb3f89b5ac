"""The model's output with each unit replaced by itself, all units of a batch of examples.

As far as the model is affine behind the place, a unit changes what comes out of it by a fixed column, so that only what lies
behind is run again: one rank-one update instead of a pass. Elsewhere the tail is run with one unit masked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Count
from unitrank_engine.program import Split
from unitrank_engine.program.linearity.columns import affine_part
from unitrank_engine.program.split import Live

FULL = 4
"""Bytes of a number in float32."""
FAR = 2.0**40
"""A power of two, and so large that what is added to a column's value is below its rounding and takes no digit from it."""
COLUMN_BYTES = 64 * 2**20
"""Columns of all units that are kept for the whole job."""


@dataclass(frozen=True)
class Plan:
    """How a job's units are replaced."""

    split: Split
    rest: Split
    """What is run again for each unit: what lies behind the affine part, or the whole tail."""
    columns: Float[Tensor, "units *value"] | None
    """What one more of each element of the place adds to the affine part's value; None where they are made anew or masked."""
    affine: bool

    @classmethod
    def of(cls, context: JobContext) -> "Plan":
        """The plan of the job, made once."""
        return context.once(_plan)


def _plan(context: JobContext) -> Plan:
    part = affine_part(context.program, context.split.place, context.output)
    # half precision has no digits left for a change that is added to a value, and no room for a far one
    if part is None or not _is_precise(part[0]):
        return Plan(context.split, context.split, None, affine=False)
    split, rest = part
    elements = context.split.place.units
    fits = elements * rest.place.units * _bytes_each(split) <= COLUMN_BYTES
    if not fits and (context.units.kind == "channel" or not split.repeatable):
        return Plan(context.split, context.split, None, affine=False)
    plan = Plan(split, rest, None, affine=True)
    return Plan(split, rest, columns(plan, context, range(elements)), affine=True) if fits else plan


def outputs(
    context: JobContext, plan: Plan, x: Inputs, place: tuple[Tensor, Live], fill: Float[Tensor, "one_or_rows *place"], count: Count
) -> Iterator[tuple[int, Float[Tensor, "units rows *output"]]]:
    """Ranges of units by their first number, and the model's output with each of them replaced; chunks are bounded in bytes.

    `place` holds h and the live values of these inputs.
    """
    rest, (h, live) = plan.rest, place
    rows = len(h)
    at_once = max(1, rows_behind(rest, context.device) // rows) if rest.repeatable else 1
    values, live = rest.head(x) if plan.affine else (h, live)
    for first in range(0, context.units.count, at_once):
        units = range(first, min(first + at_once, context.units.count))
        changed = _updated(context, plan, h, fill, values, units) if plan.affine else _masked(context, h, fill, units)
        with torch.no_grad():
            output = rest.tail(changed.flatten(0, 1), live)
        count(len(output), backward=False)
        yield first, output.reshape(len(units), rows, *output.shape[1:])


def _masked(context: JobContext, h: Tensor, fill: Tensor, units: range) -> Float[Tensor, "units rows *place"]:
    """h with each unit replaced."""
    chosen = torch.zeros(len(units), context.units.count, dtype=torch.bool, device=context.device)
    chosen[torch.arange(len(units)), torch.tensor(units)] = True
    return torch.where(context.units.spread(chosen)[:, None], fill, h)


def _updated(
    context: JobContext, plan: Plan, h: Tensor, fill: Tensor, values: Float[Tensor, "rows *value"], units: range
) -> Float[Tensor, "units rows *value"]:
    """The affine part's value with each unit replaced: its column times the change is added."""
    place, change = context.split.place, (fill - h).expand_as(h)
    if context.units.kind == "neuron":
        of_units = columns(plan, context, units) if plan.columns is None else plan.columns[units.start : units.stop]
        weights = change.flatten(1)[:, units.start : units.stop].T
        return torch.addcmul(values, weights.reshape(*weights.shape, *[1] * (values.dim() - 1)), of_units[:, None])
    assert plan.columns is not None
    channels, axis = context.units.count, place.channel_axis
    of_channels = plan.columns.reshape(*place.shape, -1).movedim(axis, 0).reshape(channels, -1, plan.rest.place.units)
    changes = change.movedim(axis + 1, 0).reshape(channels, len(change), -1)
    together, grid = changes[units.start : units.stop], of_channels[units.start : units.stop]
    return values + torch.bmm(together, grid).reshape(len(units), *values.shape)


def columns(plan: Plan, context: JobContext, elements: range) -> Float[Tensor, "units *value"]:
    """What one more of each element adds to the affine part's value."""
    split, place = plan.split, plan.split.place
    some = [tensor[:1] for tensor in context.examples.inputs(context.clusters[0].rows[:1])]
    h, live = split.head(tuple(some))
    at_once = max(1, rows_behind(split, context.device)) if split.repeatable else 1
    pieces = []
    with torch.no_grad():
        nothing = split.tail(torch.zeros_like(h), live).movedim(plan.rest.place.batch_axis, 0)
        for first in range(elements.start, elements.stop, at_once):
            chosen = torch.arange(first, min(first + at_once, elements.stop), device=context.device)
            one = torch.zeros(len(chosen), place.units, dtype=h.dtype, device=context.device)
            one[torch.arange(len(chosen)), chosen] = FAR
            outputs = split.tail(one.reshape(-1, *place.shape), live).movedim(plan.rest.place.batch_axis, 0)
            pieces.append((outputs - nothing) / FAR)
    return torch.cat(pieces)


def _is_precise(split: Split) -> bool:
    """Whether no value of the affine part is in half precision, its result neither."""
    values = [node.meta.get("val") for node in split.behind.graph.nodes]
    sizes = [value.element_size() for value in values if isinstance(value, Tensor) and value.dtype.is_floating_point]
    return min(sizes, default=0) >= FULL


def _bytes_each(split: Split) -> int:
    size: int = split.place.node.meta["val"].element_size()
    return size
