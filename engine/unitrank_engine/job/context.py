"""The context of one job: its model, place, data, target and units, fixed before the first pass."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.holdout import Halves
from unitrank_engine.job.clusters.rows import Rows
from unitrank_engine.job.clusters.slot_column import SlotColumn
from unitrank_engine.job.examples import Examples
from unitrank_engine.job.passes import Compute, LocalRunner, PassRunner
from unitrank_engine.job.progress import PartMeter, ProgressMeter
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.job.targets import Fixed, fix, has_classes, predicted, score
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.program import Program, Split
from unitrank_engine.program.places import reaches
from unitrank_engine.program.shared_split import SharedSplit
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.baselines import baseline_of
from unitrank_schemas.methods import CLASS_MARK
from unitrank_tables.range_result import RangeResult

T = TypeVar("T")


TRIED_ROWS = 64
"""The number of rows that decide about a path's spacing where the request leaves it open."""


@dataclass
class PassCost:
    """The rows that went forward and backward through the model or a part of it.

    `halvings`: how often memory ran out, so that a batch was halved.
    """

    forward_rows: int = 0
    backward_rows: int = 0
    halvings: int = 0

    def since(self, before: "PassCost") -> np.ndarray:
        """Return what was added since, as an array of the three numbers."""
        return np.array([now - then for now, then in zip(astuple(self), astuple(before), strict=True)])

    def become(self, before: "PassCost", added: np.ndarray) -> None:
        """Become the cost before with these numbers added."""
        self.forward_rows, self.backward_rows, self.halvings = (np.array(astuple(before)) + added).tolist()


@dataclass(frozen=True)
class JobContext:
    """One job that is ready to be computed. Each stage gets it.

    A job with the target class `each` has a context for each class, too: that of the job which
    explains only this class, with `<id>@<class>` for the ids of its rankings.

    `split`: the model cut at the place of the job.
    `halves`: for each cluster, which members rank and which members test.
    `cost`: the rows that have passed the model so far.
    """

    request: JobRequest
    program: Program
    split: Split
    units: PlaceUnits
    examples: Examples
    streams: RandomStreams
    row_streams: RandomStreams
    """Streams of the seed and the dataset alone: jobs on other places draw the same rows."""
    clusters: list[ClusterRows]
    halves: list[Halves]
    column: SlotColumn | None
    """Has the cluster and the half of each row, where the clusters do not list their rows."""
    meter: ProgressMeter | PartMeter
    cost: PassCost = field(default_factory=PassCost)
    runner: PassRunner = field(default_factory=LocalRunner)
    """Runs the passes over rows."""
    shared_splits: tuple[Split, ...] = ()
    """The splits of the layers whose passes this layer shares, with its own; empty without any.

    They are those of the request, and do not depend on results of earlier jobs: passes through
    other places can round differently.
    """
    truth: "JobContext | None" = None
    """The job on the true model, which fixes classes and rivals; None for the true model itself."""
    target_class: int | None = None
    """The class that this context explains in a job with the target class `each`."""
    explained: int = 1
    """The number of classes that the job explains, with a ranking of each method for each."""
    _values: dict[Callable[..., object], object] = field(default_factory=dict)
    """Function → its value for this job, see `once`."""

    def of_targets(self) -> list["JobContext"]:
        """One context for each class of a job with the target class `each`; else this context."""
        if self.request.target.class_ != "each":
            return [self]
        classes = self.program.outputs[self.output].shape[1] or 1
        return [self._of_class(number, classes) for number in range(classes)]

    def _of_class(self, number: int, classes: int) -> "JobContext":
        request = self.request
        methods = [entry.model_copy(update={"id": f"{entry.id}{CLASS_MARK}{number}"}) for entry in request.methods]
        target = request.target.model_copy(update={"class_": number})
        request = request.model_copy(update={"methods": methods, "target": target})
        return replace(self, request=request, target_class=number, explained=classes)

    @property
    def joint(self) -> bool:
        """Whether the units are those of several layers together."""
        return isinstance(self.request.layer, list)

    def once(self, make: "Callable[[JobContext], T]") -> T:
        """The value that `make` computes for this job.

        It is computed at the first call, then kept.
        """
        if make not in self._values:
            self._values[make] = make(self)
        return cast(T, self._values[make])  # cast: the dict does not keep the type of each function

    @property
    def output(self) -> str:
        """The name of the model's output that the job explains."""
        return self.request.output or next(iter(self.program.outputs))

    @property
    def device(self) -> torch.device:
        return self.program.device

    @property
    def held(self) -> list[int]:
        """The positions of the lifted inputs that keep their value at x in the baseline."""
        baseline = self.request.baseline
        return [value.position for value in self.program.path_values if baseline_of(baseline, value.name, value.inputs) is None]

    @property
    def cut(self) -> bool:
        """Whether every path from a value that moves to the output passes the place."""
        return self.once(_is_cut)

    def all_rows(self) -> Rows:
        """The dataset rows of all clusters, each once, ascending."""
        if self.column is not None:
            return self.column.rows
        return np.unique(np.concatenate([cluster.rows[:] for cluster in self.clusters]))

    def fix(self, output: Tensor, rows: np.ndarray) -> Fixed:
        """The class and the rival of these dataset rows, from their unaltered output."""
        if self.truth is not None:
            return self.truth.fix(self.truth.forward(self.examples.inputs(rows)), rows)
        return fix(self.request.target, output, self.examples.labels(rows), self.against(rows))

    def against(self, rows: np.ndarray) -> Tensor | None:
        """The class that the class of each of these dataset rows is compared with, if any."""
        against = self.request.target.against
        if isinstance(against, int):
            return torch.full((len(rows),), against, dtype=torch.long, device=self.device)
        return None if against is None else self.examples.classes(against.field, rows)

    def score(self, output: Tensor, fixed: Fixed) -> Tensor:
        """The target F of each row of the output."""
        return score(self.request.target, output, fixed)

    def right(self, output: Tensor, labels: Tensor | None) -> Tensor | None:
        """Which rows the model assigns to their labelled class.

        None without labels, or when the target explains no class.
        """
        target = self.request.target
        return predicted(target, output) == labels if labels is not None and has_classes(target, output) else None

    def run_pass(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        """Run a pass over ranges of rows and return the joined result.

        The rows that the ranges count in `cost` are added once, wherever the ranges are computed.
        A pass cannot begin inside `compute`.
        """
        before = replace(self.cost)

        def counted(part: range) -> RangeResult:
            at_first = replace(self.cost)
            result = compute(part)
            return replace(result, sums={**result.sums, "cost": self.cost.since(at_first)})

        result = self.runner.run(stage, ranges, counted)
        self.cost.become(before, result.sums["cost"])
        return result

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The job's output for these lifted inputs; the rows are added to `cost`."""
        self.cost.forward_rows += len(inputs[0])
        return self.program.forward(inputs, self.output)


def first_rows(context: JobContext) -> np.ndarray:
    """The job's first dataset rows, which decide about a spacing that the request leaves open."""
    return np.asarray(context.all_rows()[:TRIED_ROWS])


def shared_split(context: JobContext) -> SharedSplit:
    """The graph for passes through the places of all layers that share them."""
    return context.program.shared_split(context.shared_splits, context.output)


def _is_cut(context: JobContext) -> bool:
    held, graph = context.held, context.program.module.graph
    if not held:
        return context.split.cut
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    goal = context.program.outputs[context.output].node
    return not reaches(graph, context.split.place.node, goal, [inputs[position] for position in held])
