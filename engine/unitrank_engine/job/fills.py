"""Fills: the values that replace ablated units, in the space of the place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import BaselineOf, Baselines, Inputs
from unitrank_engine.job.batch_size import rows_of_range
from unitrank_engine.job.clusters.rows import Rows
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.passes import ranges_of
from unitrank_schemas.base import Fill
from unitrank_tables.range_result import RangeResult


@dataclass(frozen=True)
class Fills:
    """Computes the values that replace ablated units.

    `baselines`: the baselines of the job, for the fill `baseline`.
    `batch`: the rows of one pass.
    """

    context: JobContext
    baselines: Baselines
    batch: int
    _means: dict[str, Tensor] = field(default_factory=dict)

    def for_target(self, context: JobContext) -> "Fills":
        """Return the same fills for the context of one class; the mean is computed once for all."""
        return replace(self, context=context)

    def of(self, fill: Fill, rows: np.ndarray, cluster: int | None, x: Inputs) -> Float[Tensor, "one_or_rows *place"]:
        """The replacement values for these examples; one row when all examples share the values.

        Call `prepare` with the fill first.

        `rows`: the dataset rows of the examples.
        `cluster`: their cluster, when baselines depend on it.
        `x`: their lifted inputs.

        Raises EngineError `too_few_examples` for the fill `resample` with one example.
        """
        finders: dict[str, Callable[[], Tensor]] = {
            "baseline": lambda: self._at_baselines(rows, cluster, x),
            "zero": lambda: torch.zeros((1, *self.context.split.place.shape), dtype=self._dtype, device=self.context.device),
            "mean": lambda: self._means["mean"],
            "resample": lambda: self._head(self.context.examples.inputs(self.partners(rows))),
        }
        return finders[fill]()

    def prepare(self, fills: Iterable[Fill | None]) -> None:
        """Compute the values that all examples share, if one of these fills needs them.

        A pass cannot begin inside another one.
        """
        missing = set(fills) - set(self._means)
        if "mean" in missing:
            self._means["mean"] = self._mean_of_rows()
        if "baseline" in missing and len(self.baselines.each) > 1 and self.baselines.shared and not self.baselines.grouped:
            x = self.context.examples.inputs(self._job_rows[:1])
            if all(tensor.is_floating_point() for tensor in x):
                self._means["baseline"] = self._mean_at_baselines(self._job_rows[:1], None, x)

    def partners(self, rows: np.ndarray) -> np.ndarray:
        """A different row of the job for each of these dataset rows.

        The draw depends on the seed and the row alone.
        """
        job_rows = self._job_rows
        if len(job_rows) < 2:
            raise EngineError(
                "too_few_examples",
                "the fill 'resample' takes values from other examples, and the job has only one example; "
                "add examples, or choose another fill",
            )
        drawn = [self.context.streams.generator("resample", int(row)).integers(len(job_rows) - 1) for row in rows]
        positions = job_rows.searchsorted(rows)
        return np.asarray(job_rows[drawn + (drawn >= positions)])

    @cached_property
    def _job_rows(self) -> Rows:
        return self.context.all_rows()

    @property
    def _dtype(self) -> torch.dtype:
        dtype = self.context.split.place.node.meta["val"].dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    def _mean_of_rows(self) -> Tensor:
        context, rows = self.context, self._job_rows

        def total(part: range) -> RangeResult:
            sums = torch.zeros(1, *context.split.place.shape, dtype=torch.float64, device=context.device)
            for start in range(part.start, part.stop, self.batch):
                sums += self._head(context.examples.inputs(rows[start : min(start + self.batch, part.stop)])).double().sum(0)
            return RangeResult({"h": sums.cpu().numpy()})

        size = rows_of_range(context.split.cost, clusters=1, batch=self.batch, device=context.device)
        result = context.run_pass("fill", ranges_of(len(rows), size), total)
        return (torch.from_numpy(result.sums["h"]).to(context.device) / len(rows)).to(self._dtype)

    def _at_baselines(self, rows: np.ndarray, cluster: int | None, x: Inputs) -> Tensor:
        """Return h′, or its mean over several baselines."""
        if "baseline" in self._means:
            return self._means["baseline"]
        if len(self.baselines.each) > 1:
            return self._mean_at_baselines(rows, cluster, x)
        return self._head(self._inputs_at(self.baselines.each[0], rows, cluster, x))

    def _mean_at_baselines(self, rows: np.ndarray, cluster: int | None, x: Inputs) -> Tensor:
        total: Tensor | None = None
        for baseline in self.baselines.each:
            h = self._head(self._inputs_at(baseline, rows, cluster, x)).double()
            total = h if total is None else total + h
        assert total is not None
        return (total / len(self.baselines.each)).to(self._dtype)

    def _inputs_at(self, baseline: BaselineOf, rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        inputs = baseline(rows, cluster, x)
        return expanded(inputs, len(rows)) if any(len(tensor) != len(inputs[0]) for tensor in inputs) else inputs

    def _head(self, inputs: Inputs) -> Tensor:
        self.context.cost.forward_rows += len(inputs[0])
        return self.context.split.head(inputs)[0]


def expanded(inputs: Inputs, rows: int) -> Inputs:
    """Inputs of one row, repeated to `rows` rows without copying them."""
    return tuple(tensor if len(tensor) == rows else tensor.expand(rows, *tensor.shape[1:]) for tensor in inputs)
