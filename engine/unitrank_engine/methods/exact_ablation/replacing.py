"""Runs a model's tail once for each unit, or each small set of units, with these units replaced.

Where affine operations follow the place, a unit's change adds a multiple of a fixed column to their
result. So the result is updated (a rank-one update), and only later operations run again.
Otherwise the whole tail runs, with the units masked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Count
from unitrank_engine.methods.exact_ablation.columns import columns
from unitrank_engine.program import Split
from unitrank_engine.program.linearity.columns import affine_part
from unitrank_engine.program.split import Live

FLOAT32_BYTES = 4
"""Bytes of a number in float32."""
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
    if part is None or not is_precise(part[0]):
        return Plan(context.split, context.split, None, affine=False)
    split, rest = part
    elements = context.split.place.units
    fits = elements * rest.place.units * _bytes_each(split) <= COLUMN_BYTES
    # Units of different sizes have no common shape for an update.
    if context.units.size is None or (not fits and not (context.units.single and split.repeatable)):
        return Plan(context.split, context.split, None, affine=False)
    plan = Plan(split, rest, None, affine=True)
    every = torch.arange(elements, device=context.device)
    return Plan(split, rest, columns(split, rest, context, every), affine=True) if fits else plan


def outputs(
    context: JobContext,
    plan: Plan,
    x: Inputs,
    place: tuple[Tensor, Live],
    fill: Float[Tensor, "one_or_rows *place"],
    count: Count,
    *,
    sets: Int[Tensor, "sets size"] | None = None,
    most_rows: int | None = None,
) -> Iterator[tuple[int, Float[Tensor, "sets rows *output"]]]:
    """Yield the first set of a range, and the model's output with each set of the range replaced.

    `x`: the inputs of the examples.
    `place`: h and the live values at these inputs.
    `fill`: the values that replace units.
    `count`: called after every pass with its rows.
    `sets`: the units that are replaced together, all different; by default each unit alone.
    `most_rows`: rows of one pass, at most; by default bounded by the memory that a pass takes.
    """
    rest, (h, live) = plan.rest, place
    sets = torch.arange(context.units.count, device=context.device)[:, None] if sets is None else sets
    rows = len(h)
    at_once = max(1, (most_rows or rows_behind(rest, context.device)) // rows) if rest.repeatable else 1
    values, live = rest.head(x) if plan.affine else (h, live)
    for first in range(0, len(sets), at_once):
        chosen = sets[first : first + at_once]
        changed = _updated(context, plan, h, fill, values, chosen) if plan.affine else _masked(context, h, fill, chosen)
        with torch.no_grad():
            output = rest.tail(changed.flatten(0, 1), live)
        count(len(output), backward=False)
        yield first, output.reshape(len(chosen), rows, *output.shape[1:])


def _masked(context: JobContext, h: Tensor, fill: Tensor, sets: Int[Tensor, "sets size"]) -> Float[Tensor, "sets rows *place"]:
    """Return copies of h, each with one set of units replaced."""
    chosen = torch.zeros(len(sets), context.units.count, dtype=torch.bool, device=context.device)
    chosen.scatter_(1, sets, True)
    return torch.where(context.units.spread(chosen)[:, None], fill, h)


def _updated(
    context: JobContext, plan: Plan, h: Tensor, fill: Tensor, values: Float[Tensor, "rows *value"], sets: Int[Tensor, "sets size"]
) -> Float[Tensor, "sets rows *value"]:
    """Return the affine part's value plus, for each unit of a set, change · column."""
    change = (fill - h).expand_as(h)
    add = _neurons_added if context.units.single else _groups_added
    for units in sets.T:
        values = add(context, plan, values, change, units)
    return values


def _neurons_added(
    context: JobContext, plan: Plan, values: Tensor, change: Tensor, units: Int[Tensor, " sets"]
) -> Float[Tensor, "sets rows *value"]:
    if plan.columns is None:
        distinct, which = torch.unique(units, return_inverse=True)
        of_units = columns(plan.split, plan.rest, context, distinct)[which]
    else:
        of_units = plan.columns[units]
    weights = change.flatten(1)[:, units].T
    axes = [1] * (of_units.dim() - 1)
    return torch.addcmul(values, weights.reshape(*weights.shape, *axes), of_units[:, None])


def _groups_added(
    context: JobContext, plan: Plan, values: Tensor, change: Tensor, units: Int[Tensor, " sets"]
) -> Float[Tensor, "sets rows *value"]:
    assert plan.columns is not None
    elements = context.units.members.to(context.device)[units]
    changes = change.flatten(1).T[elements].transpose(1, 2).contiguous()
    added = torch.bmm(changes, plan.columns.flatten(1)[elements])
    return values + added.reshape(len(units), len(change), *plan.rest.place.shape)


def is_precise(split: Split) -> bool:
    """Return True where all values of the affine part have at least float32's width."""
    values = [node.meta.get("val") for node in split.behind.graph.nodes]
    sizes = [
        value.element_size() for value in values if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    ]
    return min(sizes, default=0) >= FLOAT32_BYTES


def _bytes_each(split: Split) -> int:
    size: int = split.place.node.meta["val"].element_size()
    return size
