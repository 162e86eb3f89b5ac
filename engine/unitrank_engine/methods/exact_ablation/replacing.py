"""Runs a model's tail once for each unit, with that unit alone replaced.

Where affine operations follow the place, a unit's change adds a multiple of a fixed column to their
result. So the result is updated (a rank-one update), and only later operations run again.
Otherwise the whole tail runs, with one unit masked.
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

FLOAT32_BYTES = 4
"""Bytes of a number in float32."""
PROBE = 2.0**40
"""The value that an element gets when its column is measured.

The division by a power of two is exact. The value is so large that all terms added to column ·
PROBE are below its rounding, so the column loses no digit.
"""
COLUMN_BYTES = 64 * 2**20
"""Columns of all elements are kept for the whole job up to this size, in bytes."""


@dataclass(frozen=True)
class Plan:
    """How a job's units are replaced: by updates of the affine part's value, or by masks."""

    split: Split
    """From the place to the end of the affine part.

    The job's whole split where units are masked.
    """
    rest: Split
    """The part that runs again for each unit: after the affine part, or the whole tail."""
    columns: Float[Tensor, "units *value"] | None
    """For each element of the place, the change of the affine part's value when it grows by 1.

    None where units are masked, and where the columns are too large to keep. In the second case
    each batch computes the columns again.
    """
    affine: bool
    """Whether units are replaced by updates of the affine part's value."""

    @classmethod
    def of(cls, context: JobContext) -> "Plan":
        """Return the job's plan, which is computed once."""
        return context.once(_plan)


def _plan(context: JobContext) -> Plan:
    part = affine_part(context.program, context.split.place, context.output)
    # In half precision an update loses its digits, and PROBE overflows.
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
    """Yield the first unit of a range, and the model's output with each unit of the range replaced.

    `x`: the inputs of the examples.
    `place`: h and the live values at these inputs.
    `fill`: the values that replace units.
    `count`: called after every pass with its rows.

    The number of units in a range is bounded by the memory that their pass takes.
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
    """Return copies of h, each with a single unit replaced."""
    chosen = torch.zeros(len(units), context.units.count, dtype=torch.bool, device=context.device)
    chosen[torch.arange(len(units)), torch.tensor(units)] = True
    return torch.where(context.units.spread(chosen)[:, None], fill, h)


def _updated(
    context: JobContext, plan: Plan, h: Tensor, fill: Tensor, values: Float[Tensor, "rows *value"], units: range
) -> Float[Tensor, "units rows *value"]:
    """Return the affine part's value + change · column, for each unit alone."""
    place, change = context.split.place, (fill - h).expand_as(h)
    if context.units.kind == "neuron":
        of_units = columns(plan, context, units) if plan.columns is None else plan.columns[units.start : units.stop]
        weights = change.flatten(1)[:, units.start : units.stop].T
        return torch.addcmul(values, weights.reshape(*weights.shape, *[1] * (values.dim() - 1)), of_units[:, None])
    assert plan.columns is not None
    channels, axis = context.units.count, place.channel_axis
    assert axis is not None
    of_channels = plan.columns.reshape(*place.shape, -1).movedim(axis, 0).reshape(channels, -1, plan.rest.place.units)
    changes = change.movedim(axis + 1, 0).reshape(channels, len(change), -1)
    unit_changes, unit_columns = changes[units.start : units.stop], of_channels[units.start : units.stop]
    return values + torch.bmm(unit_changes, unit_columns).reshape(len(units), *values.shape)


def columns(plan: Plan, context: JobContext, elements: range) -> Float[Tensor, "units *value"]:
    """Return the change of the affine part's value when each of these elements grows by 1.

    The columns do not depend on the example, so they are measured on the job's first one.
    """
    split, place = plan.split, plan.split.place
    first_example = [tensor[:1] for tensor in context.examples.inputs(context.clusters[0].rows[:1])]
    h, live = split.head(tuple(first_example))
    at_once = max(1, rows_behind(split, context.device)) if split.repeatable else 1
    pieces = []
    with torch.no_grad():
        at_zero = split.tail(torch.zeros_like(h), live).movedim(plan.rest.place.batch_axis, 0)
        for first in range(elements.start, elements.stop, at_once):
            chosen = torch.arange(first, min(first + at_once, elements.stop), device=context.device)
            probes = torch.zeros(len(chosen), place.units, dtype=h.dtype, device=context.device)
            probes[torch.arange(len(chosen)), chosen] = PROBE
            outputs = split.tail(probes.reshape(-1, *place.shape), live).movedim(plan.rest.place.batch_axis, 0)
            pieces.append((outputs - at_zero) / PROBE)
    return torch.cat(pieces)


def _is_precise(split: Split) -> bool:
    """Return True where all values of the affine part have at least float32's width."""
    values = [node.meta.get("val") for node in split.behind.graph.nodes]
    sizes = [
        value.element_size() for value in values if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    ]
    return min(sizes, default=0) >= FLOAT32_BYTES


def _bytes_each(split: Split) -> int:
    size: int = split.place.node.meta["val"].element_size()
    return size
