"""Finds the baseline x′ of each example, in the space of the model's inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_schemas.jobs import baselines as schema

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Baselines:
    """The baselines x′ of a job.

    `shared`: all examples of a call have the same x′, which has one row.
    `grouped`: x′ depends on the cluster.
    """

    of: Callable[[np.ndarray, int | None, Inputs], Inputs]
    """Dataset rows, their cluster (None unless grouped) and their inputs x → x′."""
    shared: bool = False
    grouped: bool = False


def find_baselines(context: JobContext, batch: int) -> Baselines:
    """The baselines of the job.

    An integer input is its own baseline, because no path leads between ids.

    `batch`: the rows of one pass, for baselines that are means.
    """
    return FINDERS[type(context.request.baseline)](context, batch)


def _constant(context: JobContext, batch: int) -> Baselines:
    value = getattr(context.request.baseline, "value", 0.0)
    return Baselines(lambda rows, cluster, x: _keep_integers(x, lambda tensor: torch.full_like(tensor[:1], value)), shared=True)


def _mean(context: JobContext, batch: int) -> Baselines:
    means = _mean_inputs(context, context.all_rows(), batch)
    return Baselines(lambda rows, cluster, x: _choose(x, means), shared=True)


def _cluster_mean(context: JobContext, batch: int) -> Baselines:
    # Only the last mean is kept: all stages go cluster by cluster, and 10 000 means of images do
    # not fit in memory.
    @lru_cache(maxsize=1)
    def mean(cluster: int) -> Inputs:
        return _mean_inputs(context, context.clusters[cluster].rows, batch)

    def of(rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        assert cluster is not None
        return _choose(x, mean(cluster))

    return Baselines(of, shared=True, grouped=True)


def _field(context: JobContext, batch: int) -> Baselines:
    assert isinstance(context.request.baseline, schema.BaselineField)
    field = context.request.baseline.field
    inputs = context.program.inputs
    names = [name for name, value in inputs.items() if value.dtype.is_floating_point] or context.program.looked_up
    count = len(names)
    if count != 1:
        raise EngineError(
            "baseline_not_applicable",
            f"a field cannot be the baseline: the model has {count} real-valued or looked-up inputs, expected one; "
            "choose another baseline, such as zeros",
        )
    position = list(inputs).index(names[0])

    def of(rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        values = context.examples.prepare(names[0], field, rows)
        return _choose(x, context.program.lift((*x[:position], values, *x[position + 1 : len(inputs)])))

    return Baselines(of)


def _example(context: JobContext, batch: int) -> Baselines:
    assert isinstance(context.request.baseline, schema.Example)
    example = context.examples.inputs(np.array([context.request.baseline.index]))
    return Baselines(lambda rows, cluster, x: _choose(x, example), shared=True)


FINDERS: dict[type, Callable[[JobContext, int], Baselines]] = {
    schema.Zeros: _constant,
    schema.Constant: _constant,
    schema.Mean: _mean,
    schema.ClusterMean: _cluster_mean,
    schema.BaselineField: _field,
    schema.Example: _example,
}


def _keep_integers(x: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    return tuple(change(tensor) if tensor.is_floating_point() else tensor for tensor in x)


def _choose(x: Inputs, chosen: Inputs) -> Inputs:
    return tuple(new if old.is_floating_point() else old for old, new in zip(x, chosen, strict=True))


def _mean_inputs(context: JobContext, rows: np.ndarray, batch: int) -> Inputs:
    """The mean of the prepared inputs over these dataset rows, summed in float64."""
    sums: list[Tensor] = []
    for start in range(0, len(rows), batch):
        inputs = context.examples.inputs(rows[start : start + batch])
        totals = [tensor.double().sum(0, keepdim=True) for tensor in inputs]
        sums = [a + b for a, b in zip(sums, totals, strict=True)] if sums else totals
    return tuple((total / len(rows)).to(tensor.dtype) for total, tensor in zip(sums, inputs, strict=True))
