"""One batch of examples at both ends of its path, and the passes that a method can run on it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills, expanded
from unitrank_engine.job.targets import Fixed
from unitrank_engine.methods.position import Position
from unitrank_engine.program.proof.uninitialised import unfilled_memory
from unitrank_engine.program.split import Live
from unitrank_schemas.base import Fill

Count = Callable[..., None]
"""Called after every pass as `count(rows, backward=..., targets=...)`.

`backward`: number of backward passes, or whether there is one. `targets`: number of targets that
share the forward pass; by default 1.

Raises Cancelled where the job must stop.
"""


@dataclass(frozen=True)
class Point:
    """One point of the path: α from 0 (x′) to 1 (x), h, and ∂F/∂h where a method needs it.

    With the spacing `adaptive`, α is a position of each example.
    """

    alpha: float | Position
    h: Float[Tensor, "rows *place"]
    gradient: Float[Tensor, "rows *place"] | None

    def precise(self) -> "Point":
        """Return the point in at least float32; half precision is too coarse for a sum."""
        dtype = torch.promote_types(self.h.dtype, torch.float32)
        return Point(self.alpha, self.h.to(dtype), None if self.gradient is None else self.gradient.to(dtype))


@dataclass(frozen=True)
class PathGap:
    """The gap of each example's path, and the change of F that it is compared with."""

    gap: Float[Tensor, " rows"]
    change: Float[Tensor, " rows"]
    hidden: Float[Tensor, " rows"] | None = None
    """A gap that the sum over the place's units does not show; NaN where it is not measured.

    At a place that is not a cut, it is the gap of h and the values around it together. With the
    spacing `adaptive`, it is the estimated error of single units.
    """

    @classmethod
    def measured(cls, flow: Float[Tensor, " rows"], change: Float[Tensor, " rows"]) -> "PathGap":
        """Return the gap between Σ ∂F/∂h · Δh along the path and the change of F along it."""
        return cls((flow - change).abs(), change.abs())


@dataclass(frozen=True)
class ScoreVariance:
    """The variance of each sampled score, and its degrees of freedom, equal for all scores."""

    values: Float[Tensor, "rows units"]
    freedom: int


@dataclass(frozen=True, kw_only=True)
class PathEnds:
    """One batch at both ends of its path, x and x′."""

    x: Inputs
    baseline: Inputs
    fixed: Fixed
    """The class of each example that F explains, and its rival class."""
    input: Point
    """At x, α = 1."""
    start: Point
    """At x′, α = 0."""
    f: Float[Tensor, " rows"]
    """F(x)."""
    f_baseline: Float[Tensor, " rows"]
    """F(x′)."""
    output: Tensor
    """The model's output at x."""
    at_baseline: Bool[Tensor, " rows"]
    """Whether each example equals its baseline."""
    probabilities: Bool[Tensor, " rows"]
    """Whether each row of the output resembles probabilities."""
    live: Live
    """The values at x that the tail reads besides h."""
    live_baseline: Live
    """The live values at x′.

    One row where all examples share x′; `Batch.live_at_baseline` has a row for each example.
    """
    affine: tuple[Tensor, ...]
    """The values at x on the frontier, which are the last values that are affine in the inputs."""
    affine_baseline: tuple[Tensor, ...]
    """The frontier's values at x′. One row where all examples share x′."""


@dataclass
class Notes:
    """Warnings and options that a method reports while it runs; they become part of its ranking.

    >>> notes = Notes()
    >>> notes.maximum("steps", 20)
    >>> notes.maximum("steps", 80)
    >>> notes.add("quadrature", "aten::softmax")
    >>> notes.options()
    {'quadrature': ['aten::softmax'], 'steps': 80}
    """

    warnings: dict[tuple[str, str], None] = field(default_factory=dict)
    """Each pair of code and detail, once, in order of its first report."""
    lists: dict[str, set[str]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def warn(self, code: str, detail: str) -> None:
        """Report a warning. Equal warnings of several batches appear once."""
        self.warnings[code, detail] = None

    def add(self, name: str, value: str) -> None:
        """Add an entry to the option `name`, a list without repeats."""
        self.lists.setdefault(name, set()).add(value)

    def maximum(self, name: str, value: int) -> None:
        """Set the option `name`, a number, to the largest value of all batches."""
        self.numbers[name] = max(value, self.numbers.get(name, value))

    def take(self, other: "Notes") -> None:
        """Add all that another record of notes has."""
        self.warnings |= other.warnings
        for name, values in other.lists.items():
            self.lists.setdefault(name, set()).update(values)
        for name, value in other.numbers.items():
            self.maximum(name, value)

    def to_json(self) -> dict[str, Any]:
        """Return the notes as JSON values."""
        return {
            "warnings": [list(warning) for warning in self.warnings],
            "lists": {name: sorted(values) for name, values in self.lists.items()},
            "numbers": self.numbers,
        }

    @classmethod
    def from_json(cls, notes: Mapping[str, Any]) -> "Notes":
        """Read what `to_json` made. Raises KeyError, TypeError or ValueError for other values."""
        warnings = dict.fromkeys((code, detail) for code, detail in notes["warnings"])
        return cls(warnings, {name: set(values) for name, values in notes["lists"].items()}, dict(notes["numbers"]))

    def clear(self) -> None:
        """Remove everything."""
        for values in (self.warnings, self.lists, self.numbers):
            values.clear()

    def options(self) -> dict[str, object]:
        """Return the options as the result has them: lists in sorted order, then numbers."""
        return {**{name: sorted(values) for name, values in self.lists.items()}, **self.numbers}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of examples, for methods that run passes in addition to the shared path."""

    context: JobContext
    rows: np.ndarray
    """The examples' numbers in the dataset."""
    cluster: int | None
    """The examples' cluster, where baselines depend on it."""
    ends: PathEnds
    fills: Fills
    size: int
    """Rows in one pass through the model, at most."""
    count: Count
    notes: Notes
    kept: dict[str, Any]
    """Values that a method keeps from one baseline to the next. Any: each method has its own."""

    def live_at_baseline(self) -> Live:
        """Return the live values at the baselines, one row for each example."""
        split, rows = self.context.split, len(self.rows)
        if self.ends.live_baseline.rows == rows:
            return self.ends.live_baseline
        return split.head(expanded(self.ends.baseline, rows))[1]

    def fill(self, fill: Fill) -> Float[Tensor, "one_or_rows *place"]:
        """Return the values that replace units of the examples."""
        return self.ends.start.h if fill == "baseline" else self.fills.of(fill, self.rows, self.cluster, self.ends.x)


def gradient_of(f: Float[Tensor, " rows"], h: Tensor, *, keep_graph: bool = False) -> Tensor:
    """Return ∂F/∂h; zeros where F depends on h only through comparisons, which have no gradient.

    `keep_graph`: whether another backward pass follows for the same forward pass.
    """
    if not f.requires_grad:
        return torch.zeros_like(h)
    return torch.autograd.grad(f.sum(), h, retain_graph=keep_graph, materialize_grads=True)[0]


def gradients_of(f: Sequence[Float[Tensor, " rows"]], h: Tensor, *, keep_graph: bool = False) -> Iterator[Tensor]:
    """Yield as `gradient_of` for several targets whose F come from one output."""
    for (gradient,) in gradients_at(f, [[h]] * len(f), keep_graph=keep_graph):
        yield gradient


def gradients_at(
    f: Sequence[Float[Tensor, " rows"]], places: Sequence[Sequence[Tensor]], *, keep_graph: bool = False
) -> Iterator[list[Tensor]]:
    """Yield for each F its gradients at some places, as `gradient_of`, from one backward pass.

    `places`: for each F, the values of its places.

    Only the first backward pass fills new memory. The others run the same operators with the same
    forward values, so they leave memory unwritten only where the first pass left it unwritten, too.
    """
    for number, (each, at) in enumerate(zip(f, places, strict=True)):
        keep = keep_graph or number + 1 < len(f)
        with unfilled_memory() if number else nullcontext():
            if each.requires_grad:
                gradients = list(torch.autograd.grad(each.sum(), list(at), retain_graph=keep, materialize_grads=True))
            else:
                gradients = [torch.zeros_like(h) for h in at]
        yield gradients
