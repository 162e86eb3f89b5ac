"""A plain re-implementation of the methods: the eager module in float64, one example at a time.

It does not use the engine. A hook on the module that computes a value reads and replaces the value,
so that its gradient covers all uses of the value.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tests.engine.nets import Tap

Score = Callable[[Tensor], Tensor]
"""Takes an output of one row; returns F."""
Point = tuple[Tensor, Tensor]
"""h and ∂F/∂h."""


class Eager:
    """A net in float64 whose value at a tap can be read and replaced.

    `dtype`: float32 shows the rounding of the eager module.
    """

    def __init__(self, module: nn.Module, tap: Tap, dtype: torch.dtype = torch.float64) -> None:
        self.module = deepcopy(module).to(dtype).eval()
        self.tap = tap
        self._calls = 0
        self._seen: Tensor | None = None
        self._instead: Tensor | None = None
        tapped = self.module.get_submodule(tap.module)
        if tap.side == "output":
            tapped.register_forward_hook(lambda module, inputs, output: self._exchange(output))
        else:
            tapped.register_forward_pre_hook(lambda module, inputs: self._exchange(inputs))

    def run(self, *inputs: Tensor, instead: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return h and the output; `instead` replaces h where it is given."""
        self._calls, self._instead = 0, instead
        output = self.module(*inputs)
        assert self._seen is not None
        return self._seen, output

    def _exchange(self, value: Any) -> Any:
        self._calls += 1
        if self._calls != self.tap.call + 1:
            return None
        first, rest = (value[0], value[1:]) if isinstance(value, tuple) else (value, None)
        # Cloned, because an in-place activation overwrites its input.
        self._seen = first.detach().clone()
        if self._instead is None:
            return None
        new = self._instead.clone()
        return new if rest is None else (new, *rest)

    def point(self, score: Score, *inputs: Tensor) -> Point:
        """Return h at these inputs, and the gradient of F there."""
        with torch.no_grad():
            h, _ = self.run(*inputs)
        leaf = h.clone().requires_grad_()
        _, output = self.run(*inputs, instead=leaf)
        (gradient,) = torch.autograd.grad(score(output).sum(), leaf)
        return h, gradient


def nodes(steps: int, spacing: str) -> list[float]:
    """0 = α₀ < … < αₙ = 1."""
    return [t / steps if spacing == "uniform" else (t / steps) ** 3 for t in range(steps + 1)]


def walk(eager: Eager, score: Score, x: Tensor, baseline: Tensor, alphas: Sequence[float]) -> list[Point]:
    """h and its gradient at each α of the straight line from the baseline to x."""
    return [eager.point(score, baseline + alpha * (x - baseline)) for alpha in alphas]


def conductance(path: list[Point], rule: str) -> Tensor:
    """Σ ∂F/∂h · (h(xₜ) − h(xₜ₋₁))."""
    total = torch.zeros_like(path[0][0])
    for (h0, g0), (h1, g1) in pairwise(path):
        total = total + {"left": g0, "right": g1, "trapezoid": (g0 + g1) / 2}[rule] * (h1 - h0)
    return total


def internal_influence(path: list[Point], rule: str, alphas: Sequence[float]) -> Tensor:
    """Σ ∂F/∂h · (αₜ − αₜ₋₁)."""
    total = torch.zeros_like(path[0][0])
    for (a0, (_, g0)), (a1, (_, g1)) in pairwise(zip(alphas, path, strict=True)):
        total = total + {"left": g0, "right": g1, "trapezoid": (g0 + g1) / 2}[rule] * (a1 - a0)
    return total


def integrated_gradients(module: nn.Module, score: Score, x: Tensor, baseline: Tensor, steps: int) -> Tensor:
    """(x − x′) · ∫ ∂F/∂x dα by the trapezoid rule on uniform steps."""
    module = deepcopy(module).double().eval()
    total = torch.zeros_like(x)
    for t in range(steps + 1):
        point = (baseline + t / steps * (x - baseline)).requires_grad_()
        (gradient,) = torch.autograd.grad(score(module(point)).sum(), point)
        total = total + gradient * (0.5 if t in (0, steps) else 1.0) / steps
    return total * (x - baseline)


def score_of(kind: str, z: Tensor, chosen: int, rival: int) -> Tensor:
    """F of one row of logits, by its definition."""
    values = {
        "logit": lambda: z[chosen],
        "centered": lambda: z[chosen] - sum(z) / len(z),
        "margin": lambda: z[chosen] - z[rival],
        "probability": lambda: z[chosen].exp() / sum(each.exp() for each in z),
        "log_probability": lambda: z[chosen] - torch.log(sum(each.exp() for each in z)),
    }
    return values[kind]()


def rival_of(z: Tensor, chosen: int) -> int:
    """The class with the largest logit besides `chosen`."""
    return max((value, -index) for index, value in enumerate(z.tolist()) if index != chosen)[1] * -1
