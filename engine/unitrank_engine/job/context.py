"""What is fixed before the first pass: model, place, data, target and units of one job."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.holdout import Halves
from unitrank_engine.job.examples import Examples
from unitrank_engine.job.progress import ProgressMeter
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.job.targets import Fixed, fix, score
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.program import Program, Split
from unitrank_schemas.jobs import JobRequest

T = TypeVar("T")


@dataclass
class PassCost:
    """Rows that went through the model, or through a part of it."""

    forward_rows: int = 0
    backward_rows: int = 0


@dataclass(frozen=True)
class JobContext:
    """One job, ready to be computed."""

    request: JobRequest
    program: Program
    split: Split
    units: PlaceUnits
    examples: Examples
    streams: RandomStreams
    clusters: list[ClusterRows]
    halves: list[Halves]
    meter: ProgressMeter
    cost: PassCost = field(default_factory=PassCost)
    _made: dict[Callable[..., object], object] = field(default_factory=dict)
    """Function → the value that it gave for this job."""

    def once(self, make: "Callable[[JobContext], T]") -> T:
        """The value that `make` gives for this job; several stages ask for it, and the first one makes it."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])  # this function gave it

    @property
    def output(self) -> str:
        return self.request.output or next(iter(self.program.outputs))

    @property
    def device(self) -> torch.device:
        return self.program.device

    def all_rows(self) -> np.ndarray:
        """Every dataset row of the job, once, ascending."""
        return np.unique(np.concatenate([cluster.rows for cluster in self.clusters]))

    def fix(self, output: Tensor, rows: np.ndarray) -> Fixed:
        """Class and rival of these rows from their unaltered output."""
        return fix(self.request.target, output, self.examples.labels(rows))

    def score(self, output: Tensor, fixed: Fixed) -> Tensor:
        return score(self.request.target, output, fixed)

    def right(self, output: Tensor, labels: Tensor | None) -> Tensor | None:
        """Which rows the model classifies as labelled; None where that cannot be said."""
        if labels is None or output.dim() == 1 or output.shape[1] == 1:
            return None
        return output.argmax(1) == labels

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The job's output for these inputs."""
        self.cost.forward_rows += len(inputs[0])
        return self.program.forward(inputs, self.output)
