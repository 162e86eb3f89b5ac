"""Fills: what an ablated unit becomes, in the place's own space."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import Baselines, Inputs
from unitrank_engine.job.context import JobContext
from unitrank_schemas.base import Fill


@dataclass(frozen=True)
class Fills:
    """Values that replace ablated units, for batches of examples; one row where all examples share it."""

    context: JobContext
    baselines: Baselines
    batch: int

    def of(self, fill: Fill, rows: np.ndarray, cluster: int | None, x: Inputs) -> Float[Tensor, "one_or_rows *place"]:
        """What units of these examples become. Raises EngineError `too_few_examples` for `resample` with one example."""
        finders: dict[str, Callable[[], Tensor]] = {
            "baseline": lambda: self._head(self._at_baseline(rows, cluster, x)),
            "zero": lambda: torch.zeros((1, *self.context.split.place.shape), dtype=self._dtype, device=self.context.device),
            "mean": lambda: self._mean,
            "resample": lambda: self._head(self.context.examples.inputs(self.partners(rows))),
        }
        return finders[fill]()

    def partners(self, rows: np.ndarray) -> np.ndarray:
        """For each row another row of the job, drawn by the seed and the row alone."""
        everyone = self._everyone
        if len(everyone) < 2:
            raise EngineError("too_few_examples", "the fill 'resample' takes values from other examples; the job has only one")
        drawn = [self.context.streams.generator("resample", int(row)).integers(len(everyone) - 1) for row in rows]
        positions = np.searchsorted(everyone, rows)
        return np.asarray(everyone[drawn + (drawn >= positions)])

    @cached_property
    def _everyone(self) -> np.ndarray:
        return self.context.all_rows()

    @property
    def _dtype(self) -> torch.dtype:
        dtype = self.context.split.place.node.meta["val"].dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    @cached_property
    def _mean(self) -> Tensor:
        rows, total = self._everyone, None
        for start in range(0, len(rows), self.batch):
            h = self._head(self.context.examples.inputs(rows[start : start + self.batch])).double().sum(0, keepdim=True)
            total = h if total is None else total + h
        assert total is not None
        return (total / len(rows)).to(self._dtype)

    def _at_baseline(self, rows: np.ndarray, cluster: int | None, x: Inputs) -> Inputs:
        baseline = self.baselines.of(rows, cluster, x)
        return expanded(baseline, len(rows)) if any(len(tensor) != len(baseline[0]) for tensor in baseline) else baseline

    def _head(self, inputs: Inputs) -> Tensor:
        self.context.cost.forward_rows += len(inputs[0])
        return self.context.split.head(inputs)[0]


def expanded(inputs: Inputs, rows: int) -> Inputs:
    """Inputs of one row as that many rows."""
    return tuple(tensor if len(tensor) == rows else tensor.expand(rows, *tensor.shape[1:]) for tensor in inputs)
