"""Finds the baseline x′ of each example, in the space of the model's inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.rows import Rows
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.passes import ranges_of
from unitrank_engine.program.lifting import PathValue
from unitrank_schemas.jobs import baselines as schema
from unitrank_tables.range_result import RangeResult

Inputs = tuple[Tensor, ...]
ROWS_OF_RANGE = 2**16
"""Rows of one range of a pass that only reads inputs."""

KEPT_BYTES = 64 * 2**20
"""Limit of the values at drawn baselines that are kept, in bytes. Others are computed again."""

BaselineOf = Callable[[np.ndarray, int | None, Inputs], Inputs]
"""Takes dataset rows, their cluster (None unless grouped) and their inputs x; returns x′."""


@dataclass(frozen=True)
class Baselines:
    """The baselines x′ of a job.

    `shared`: all examples of a call have the same x′, which has one row.
    `grouped`: x′ depends on the cluster.
    """

    each: Sequence[BaselineOf]
    """One for each baseline of an example. Every kind but `examples` has one."""
    shared: bool = False
    grouped: bool = False

    def number(self, index: int) -> BaselineOf:
        """Return the baseline with this number; the only one counts for every number."""
        return self.each[index if len(self.each) > 1 else 0]


def find_baselines(context: JobContext, batch: int) -> Baselines:
    """The baselines of the job.

    An integer input is its own baseline, because no path leads between ids. So is a value that the
    request holds.

    `batch`: the rows of one pass, for baselines that are means.
    """
    values = context.program.path_values
    parts = [
        ([value.position for value in governed], FINDERS[type(each)](context, each, governed, batch))
        for each, governed in _used(context).values()
    ]
    if len(parts) == 1 and len(parts[0][0]) == len(values):
        return parts[0][1]

    def of(index: int, rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        inputs = list(x)
        for positions, part in parts:
            chosen = part.number(index)(rows, cluster, x)
            for position in positions:
                inputs[position] = chosen[position]
        return tuple(inputs)

    moving = sum(len(positions) for positions, _ in parts)
    return Baselines(
        [partial(of, index) for index in range(max((len(part.each) for _, part in parts), default=1))],
        shared=moving == len(values) and all(part.shared for _, part in parts),
        grouped=any(part.grouped for _, part in parts),
    )


def _constant(context: JobContext, baseline: schema.Baseline, governed: list[PathValue], batch: int) -> Baselines:
    value = getattr(baseline, "value", 0.0)
    if not isinstance(value, list):
        return Baselines(
            [lambda rows, cluster, x: _keep_integers(x, lambda tensor: torch.full_like(tensor[:1], value))], shared=True
        )

    def of(rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        inputs = list(x)
        for each in governed:
            inputs[each.position] = _by_channel(value, x[each.position], each)
        return tuple(inputs)

    return Baselines([of], shared=True)


def _by_channel(values: list[float], like: Tensor, of: PathValue) -> Tensor:
    """One row with one of these numbers for each channel. Raises EngineError `baseline_shape`."""
    axis = schema.axis_of_channels(like.shape, len(values), looked_up=of.name not in of.inputs)
    if axis is None:
        raise EngineError(
            "baseline_shape",
            f"the baseline's value has {len(values)} numbers, but '{of.name}' has the shape {list(like.shape)}; "
            "use one number, or one for each channel",
        )
    shape = [len(values) if index == axis else 1 for index in range(like.dim())]
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(shape).expand_as(like[:1])


def _mean(context: JobContext, baseline: schema.Baseline, governed: list[PathValue], batch: int) -> Baselines:
    rows = context.all_rows()
    parts = ranges_of(len(rows), ROWS_OF_RANGE)
    result = context.run_pass("baseline", parts, lambda part: _sum_of_inputs(context, rows[part.start : part.stop], batch))
    means = _means(context, result, len(rows))
    return Baselines([lambda rows, cluster, x: _choose(x, means)], shared=True)


def _cluster_mean(context: JobContext, baseline: schema.Baseline, governed: list[PathValue], batch: int) -> Baselines:
    # Only the last mean is kept: all stages go cluster by cluster, and 10 000 means of images do
    # not fit in memory.
    @lru_cache(maxsize=1)
    def mean(cluster: int) -> Inputs:
        rows = context.clusters[cluster].rows
        return _means(context, _sum_of_inputs(context, rows, batch), len(rows))

    def of(rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        assert cluster is not None
        return _choose(x, mean(cluster))

    return Baselines([of], shared=True, grouped=True)


def _field(context: JobContext, baseline: schema.Baseline, governed: list[PathValue], batch: int) -> Baselines:
    assert isinstance(baseline, schema.BaselineField)
    field, inputs = baseline.field, context.program.inputs
    real = {value.name for value in governed if value.position < len(inputs)}
    names = real or {name for value in governed for name in value.inputs}
    count = len(names)
    if count != 1:
        raise EngineError(
            "baseline_not_applicable",
            f"a field cannot be the baseline: it would replace {count} real-valued or looked-up inputs, expected one; "
            "give each input its own field in `baseline.inputs`, or choose another baseline, such as zeros",
        )
    (name,) = names
    position = list(inputs).index(name)

    def of(rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        values = context.examples.prepare(name, field, rows)
        return _choose(x, context.program.lift((*x[:position], values, *x[position + 1 : len(inputs)])))

    return Baselines([of])


def _example(context: JobContext, baseline: schema.Baseline, governed: list[PathValue], batch: int) -> Baselines:
    assert isinstance(baseline, schema.Example)
    example = context.examples.inputs(np.array([baseline.index]))
    return Baselines([lambda rows, cluster, x: _choose(x, example)], shared=True)


def _drawn(context: JobContext, baseline: schema.Baseline, governed: list[PathValue], batch: int) -> Baselines:
    assert isinstance(baseline, schema.DrawnExamples)
    drawn = drawn_rows(context, baseline)
    size = sum(tensor.nbytes for tensor in context.examples.inputs(drawn[:1]))

    @lru_cache(maxsize=max(1, KEPT_BYTES // max(1, size)))
    def inputs(row: int) -> Inputs:
        return context.examples.inputs(np.array([row]))

    def of(row: int, rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        return _choose(x, inputs(row))

    return Baselines([partial(of, row) for row in drawn.tolist()], shared=True)


def drawn_rows(context: JobContext, baseline: schema.DrawnExamples) -> np.ndarray:
    """Return the dataset rows that are the baselines, in the order of the draw.

    The draw depends on the seed, the dataset, and the rows that are drawn from. The baselines of
    several inputs with the same `where` are the same rows.

    Raises EngineError `too_few_examples`.
    """
    where, count = baseline.where, baseline.count
    rows = context.all_rows() if where is None else np.flatnonzero(context.examples.table.read(where, slice(None)))
    available = len(rows)
    if available < count and where is None:
        detail = f"{count} rows cannot be drawn from the job's {available} examples; use a smaller `count`, or more examples"
        raise EngineError("too_few_examples", detail)
    if available < count:
        detail = (
            f"{count} rows cannot be drawn where field {where!r} is true, because it is true in {available}; use a smaller "
            "`count`, or a field that is true in more rows"
        )
        raise EngineError("too_few_examples", detail)
    positions = context.row_streams.generator("baselines", where or "").choice(len(rows), count, replace=False)
    return np.asarray(rows[positions])


FINDERS: dict[type, Callable[[JobContext, schema.Baseline, list[PathValue], int], Baselines]] = {
    schema.Zeros: _constant,
    schema.Constant: _constant,
    schema.Mean: _mean,
    schema.ClusterMean: _cluster_mean,
    schema.BaselineField: _field,
    schema.Example: _example,
    schema.DrawnExamples: _drawn,
}


def _keep_integers(x: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    return tuple(change(tensor) if tensor.is_floating_point() else tensor for tensor in x)


def _choose(x: Inputs, chosen: Inputs) -> Inputs:
    return tuple(new if old.is_floating_point() else old for old, new in zip(x, chosen, strict=True))


def _sum_of_inputs(context: JobContext, rows: Rows, batch: int) -> RangeResult:
    """The sums of the prepared inputs over these dataset rows, in float64."""
    sums: list[Tensor] = []
    for start in range(0, len(rows), batch):
        totals = [tensor.double().sum(0, keepdim=True) for tensor in context.examples.inputs(rows[start : start + batch])]
        sums = [a + b for a, b in zip(sums, totals, strict=True)] if sums else totals
    return RangeResult({str(position): total.cpu().numpy() for position, total in enumerate(sums)})


def _means(context: JobContext, result: RangeResult, rows: int) -> Inputs:
    """The means of the inputs, in the types of the inputs, from their sums over this many rows."""
    like = context.examples.inputs(context.clusters[0].rows[:1])
    sums = (result.sums[str(position)] for position in range(len(like)))
    return tuple((torch.from_numpy(total).to(x.device) / rows).to(x.dtype) for total, x in zip(sums, like, strict=True))


def baseline_rows(context: JobContext) -> dict[str, np.ndarray]:
    """Return the drawn rows as arrays of the result; empty where no row is drawn.

    Inputs with a baseline of their own have an array of their own.
    """
    drawn = {name: each for name, (each, _) in _used(context).items() if isinstance(each, schema.DrawnExamples)}
    return {f"baseline_rows/{name}" if name else "baseline_rows": drawn_rows(context, each) for name, each in drawn.items()}


def drawn_count(context: JobContext) -> int:
    """The number of baselines of each example: 1, or the number of rows that are drawn."""
    return max((each.count for each, _ in _used(context).values() if isinstance(each, schema.DrawnExamples)), default=1)


def _used(context: JobContext) -> dict[str, tuple[schema.Baseline, list[PathValue]]]:
    """Input → its own baseline and the values that have it. The job's baseline has an empty name.

    Baselines that no value has are left out.
    """
    baseline, values = context.request.baseline, context.program.path_values
    own = {"": baseline, **baseline.inputs}
    governed = {
        name: [value for value in values if schema.baseline_of(baseline, value.name, value.inputs) is each]
        for name, each in own.items()
    }
    return {name: (own[name], of_it) for name, of_it in governed.items() if of_it}
