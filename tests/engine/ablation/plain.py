"""A plain ablation study: one whole forward pass for each order, count and example."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.engine.ablation.nets import Cut
from tests.engine.in_process import RESOLVED
from unitrank_engine.job.context import JobContext
from unitrank_engine.pipeline import prepare
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_tables import open_table

FillOf = Callable[[int], Tensor]
"""Takes a dataset row; returns the values that replace its units."""


def prepared(program: Program, folder: Path, fields: dict[str, np.ndarray], **request: Any) -> JobContext:
    """The job's context: clusters, halves and random streams."""
    path = folder / "prepared.npz"
    np.savez(path, **fields)
    parsed = JobRequest.model_validate({"model": "m", "dataset": "d", "methods": ["random"], "inputs": {"x": "x"}, **request})
    return prepare(parsed, RESOLVED, program, open_table(path), lambda progress: None)


@dataclass(frozen=True)
class Plain:
    """A net with the logit of one class as target.

    `axis`: the axis of units in h, without the batch.
    """

    net: Cut
    x: Tensor
    chosen: int
    channels: bool

    def h(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.net.act(self.net.before(x[None]))[0]

    def f(self, row: int, units: set[int], fill: Tensor) -> float:
        """F with these units replaced."""
        return float(self._output(row, units, fill)[self.chosen])

    def predicted(self, row: int, units: set[int], fill: Tensor) -> int:
        """The class with the largest logit with these units replaced."""
        return int(self._output(row, units, fill).argmax())

    def _output(self, row: int, units: set[int], fill: Tensor) -> Tensor:
        def replace(h: Tensor) -> Tensor:
            h = h.clone()
            for unit in units:
                if self.channels:
                    h[0, unit] = fill[unit]
                else:
                    h[0].view(-1)[unit] = fill.reshape(-1)[unit]
            return h

        with torch.no_grad():
            return self.net(self.x[row][None], replace)[0]

    def gradient_x_activation(self, rows: np.ndarray) -> np.ndarray:
        """The mean over these rows, summed over the elements of a channel."""
        scores = []
        for row in rows:
            h = self.h(self.x[row]).requires_grad_()
            self.net.after(h[None])[0, self.chosen].backward()
            assert h.grad is not None
            product = (h.grad * h).detach()
            scores.append(self._by_unit(product))
        return np.mean(scores, axis=0)

    def activation(self, rows: np.ndarray) -> np.ndarray:
        """Mean h, summed over the elements of a channel."""
        return np.mean([self._by_unit(self.h(self.x[row])) for row in rows], axis=0)

    def activity(self, rows: np.ndarray, fill: FillOf) -> np.ndarray:
        """Mean |h − fill|, summed over the elements of a channel."""
        return np.mean([self._by_unit((self.h(self.x[row]) - fill(row)).abs()) for row in rows], axis=0)

    def _by_unit(self, h: Tensor) -> np.ndarray:
        return (h.flatten(1).sum(1) if self.channels else h.flatten()).numpy()
