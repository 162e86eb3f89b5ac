"""The scores of a place by plain formulas: the eager module, one example at a time.

Nothing here uses the engine. `tests.engine.oracle` has the formulas.
"""

from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from tests.engine import oracle
from tests.engine.architectures.zoo import COUNT, Architecture, first_tensor
from tests.engine.nets import Tap
from torch import Tensor, nn

STEPS = 6
INSIDE = "net"
"""The path of the user's module inside `FirstOutput`."""


class FirstOutput(nn.Module):
    """A module with its inputs in order, which returns one row of numbers for each example.

    `first`: name of the input that comes first, so that a tap on the input reads it.
    `reduce`: turns an output with more axes into a row of numbers.
    """

    def __init__(self, net: Architecture, first: str | None, reduce: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.reduce = reduce
        self.net = deepcopy(net.module)
        self.names = sorted(net.inputs, key=lambda name: name != first)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.reduce(first_tensor(self.net(**dict(zip(self.names, inputs, strict=True)))))


class LookedUp:
    """Moves the vectors that embeddings look up along their line from `starts` to the example.

    `alpha`: the point on the line. None: the vectors are recorded instead.
    """

    def __init__(self, root: nn.Module, paths: list[str]) -> None:
        self.alpha: float | None = None
        self.starts: dict[tuple[str, int], Tensor] = {}
        self._calls: dict[str, int] = defaultdict(int)
        # The functions below outlive a copy of the module, because a copy shares functions.
        root.register_forward_pre_hook(lambda module, inputs: self._calls.clear())
        for path in dict.fromkeys(paths):
            root.get_submodule(f"{INSIDE}.{path}").register_forward_hook(self._hook(path))

    def _hook(self, path: str) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
        def hook(module: nn.Module, inputs: object, vectors: Tensor) -> Tensor | None:
            key = (path, self._calls[path])
            self._calls[path] += 1
            if self.alpha is None:
                self.starts[key] = vectors.mean(self._batch_axis(vectors), keepdim=True)
                return None
            start = self.starts[key]
            return start + self.alpha * (vectors - start)

        return hook

    def _batch_axis(self, vectors: Tensor) -> int:
        """The axis of the batch: no other axis has this size in the architectures of the table."""
        return list(vectors.shape).index(COUNT)


@dataclass(frozen=True)
class Spot:
    """A place of an eager module.

    `first`: the input that the tap reads, for a place at an input.
    """

    tap: Tap
    first: str | None = None


class Reference:
    """The scores of a place. The baseline of each value on the path is its mean over the examples.

    `path`: the layers whose looked-up vectors move.
    `space`: the axes of the place's value besides its batch and its channels.
    `reduce`: turns an output with more axes into a row of numbers.
    """

    def __init__(
        self,
        net: Architecture,
        spot: Spot,
        *,
        path: list[str],
        space: list[int],
        reduce: Callable[[Tensor], Tensor],
        dtype: torch.dtype,
    ) -> None:
        wrapped = FirstOutput(net, spot.first, reduce)
        self._looked_up = LookedUp(wrapped, path)
        self._eager = oracle.Eager(wrapped, spot.tap, dtype)
        self._space = space
        self._rows = [_as(net.inputs[name], dtype) for name in wrapped.names]
        self._starts = [rows.mean(0, keepdim=True) if rows.is_floating_point() else None for rows in self._rows]
        with torch.no_grad():
            self._eager.run(*self._rows)

    def scores(self, row: int, units: list[int]) -> dict[str, Tensor]:
        """The scores of one example by method, flattened.

        Those of `exact_ablation` are of `units` only.
        """
        (h, gradient), score = self._point(row, 1.0, None), self._score(row)
        h0, _ = self._point(row, 0.0, score)
        alphas = oracle.nodes(STEPS, "uniform")
        path = [self._point(row, alpha, score) for alpha in alphas]
        line = self._line(row, h0, h, score)
        scores = {
            "activation": h,
            "gradient": gradient,
            "gradient_x_activation": h * gradient,
            "gradient_x_delta": (h - h0) * gradient,
            "conductance": oracle.conductance(path, "trapezoid"),
            "internal_influence": oracle.internal_influence(path, "trapezoid", alphas),
            "integrated_gradients": oracle.conductance(line, "trapezoid"),
            "exact_ablation": self._drops(row, h0, h, units, score),
        }
        if self._space:
            scores["grad_cam"] = h * gradient.mean(self._space, keepdim=True)
        return {name: values.flatten() for name, values in scores.items()}

    def _at(self, row: int, alpha: float) -> list[Tensor]:
        """The inputs of one example at a point of their path; the looked-up vectors move too."""
        self._looked_up.alpha = alpha
        rows = [rows[row : row + 1] for rows in self._rows]
        return [x if start is None else start + alpha * (x - start) for x, start in zip(rows, self._starts, strict=True)]

    def _score(self, row: int) -> oracle.Score:
        with torch.no_grad():
            _, output = self._eager.run(*self._at(row, 1.0))
        z = output.reshape(-1)
        if len(z) == 1:
            return lambda output: output.reshape(-1)[0]
        chosen = int(z.argmax())
        rival = oracle.rival_of(z, chosen)
        return lambda output: oracle.score_of("margin", output.reshape(-1), chosen, rival)

    def _point(self, row: int, alpha: float, score: oracle.Score | None) -> oracle.Point:
        return self._eager.point(score or self._score(row), *self._at(row, alpha))

    def _line(self, row: int, h0: Tensor, h: Tensor, score: oracle.Score) -> list[oracle.Point]:
        """Points between h′ and h, with the inputs of the example."""
        points = []
        inputs = self._at(row, 1.0)
        for alpha in oracle.nodes(STEPS, "uniform"):
            leaf = (h0 + alpha * (h - h0)).requires_grad_()
            _, output = self._eager.run(*inputs, instead=leaf)
            (gradient,) = torch.autograd.grad(score(output).sum(), leaf)
            points.append((leaf.detach(), gradient))
        return points

    def _drops(self, row: int, h0: Tensor, h: Tensor, units: list[int], score: oracle.Score) -> Tensor:
        """F(h) − F(h with one unit at its baseline), for each of the units."""
        inputs = self._at(row, 1.0)

        def f(value: Tensor) -> Tensor:
            with torch.no_grad():
                return score(self._eager.run(*inputs, instead=value)[1])

        whole, drops = f(h), []
        for unit in units:
            replaced = h.flatten().clone()
            replaced[unit] = h0.flatten()[unit]
            drops.append(whole - f(replaced.reshape(h.shape)))
        return torch.stack(drops)


def _as(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values
