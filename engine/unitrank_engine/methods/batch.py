"""One batch of examples at both ends of its path, and what a method may do with it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills, expanded
from unitrank_engine.job.targets import Fixed
from unitrank_engine.program.split import Live

Count = Callable[..., None]
"""Takes the rows of a pass, and by name whether it went `backward` too: this is also where a cancelled job stops."""


@dataclass(frozen=True)
class Point:
    """One point of the path: α, the place's value there, and the gradient of F where a method asked for it."""

    alpha: float
    h: Float[Tensor, "rows *place"]
    gradient: Float[Tensor, "rows *place"] | None

    def precise(self) -> "Point":
        """The same in float32 at least: a sum of many steps has no digit left in half precision."""
        dtype = torch.promote_types(self.h.dtype, torch.float32)
        return Point(self.alpha, self.h.to(dtype), None if self.gradient is None else self.gradient.to(dtype))


@dataclass(frozen=True, kw_only=True)
class PathEnds:
    """One batch at both ends of its path."""

    x: Inputs
    baseline: Inputs
    fixed: Fixed
    input: Point
    start: Point
    f: Float[Tensor, " rows"]
    f_baseline: Float[Tensor, " rows"]
    output: Tensor
    live: Live
    live_baseline: Live
    """Of one row where all examples share their baseline; `Batch.live_at_baseline` has a row for each."""
    affine: tuple[Tensor, ...]
    """At the frontier of what is affine in the inputs."""
    affine_baseline: tuple[Tensor, ...]
    """Of one row where all examples share their baseline."""


@dataclass
class Notes:
    """What a method finds out while it runs, for the reader of its ranking."""

    warnings: dict[tuple[str, str], None] = field(default_factory=dict)
    lists: dict[str, set[str]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def warn(self, code: str, detail: str) -> None:
        """A warning of the ranking; the same one from many batches is said once."""
        self.warnings[code, detail] = None

    def add(self, name: str, value: str) -> None:
        """One more entry of a list among the ranking's options."""
        self.lists.setdefault(name, set()).add(value)

    def most(self, name: str, value: int) -> None:
        """A number among the ranking's options, the largest of all batches."""
        self.numbers[name] = max(value, self.numbers.get(name, value))

    def options(self) -> dict[str, object]:
        """As the result shows them."""
        return {**{name: sorted(values) for name, values in self.lists.items()}, **self.numbers}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The examples on the path, for a method that runs passes of its own."""

    context: JobContext
    rows: np.ndarray
    """Their numbers in the dataset."""
    cluster: int | None
    """Theirs, where baselines depend on it."""
    ends: PathEnds
    fills: Fills
    size: int
    """Rows that go through the model at once."""
    count: Count
    notes: Notes

    def slope(self, h: Float[Tensor, "passed *place"], live: Live, fixed: Fixed) -> Float[Tensor, "passed *place"]:
        """∂F/∂h at these values, which may hold the live values' rows several times over."""
        h = h.detach().requires_grad_()
        gradient = gradient_of(self.context.score(self.context.split.tail(h, live), fixed), h)
        self.count(len(h), backward=True)
        return gradient

    def live_at_baseline(self) -> Live:
        """The live values of the baselines, a row for each example."""
        split, rows = self.context.split, len(self.rows)
        if self.ends.live_baseline.rows == rows:
            return self.ends.live_baseline
        return split.head(expanded(self.ends.baseline, rows))[1]


def gradient_of(f: Float[Tensor, " rows"], h: Tensor) -> Tensor:
    """∂F/∂h; zeros where F depends on h by comparisons alone, of which no gradient knows."""
    return torch.autograd.grad(f.sum(), h, materialize_grads=True)[0] if f.requires_grad else torch.zeros_like(h)
