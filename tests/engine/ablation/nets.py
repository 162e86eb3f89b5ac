"""Small nets whose ablation can be computed by hand, or by a loop of whole forward passes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Weighted(nn.Module):
    """Units h = relu(x), and one output F = w·h + b for each row of weights."""

    def __init__(self, *weights: list[float], bias: float = 0.0) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.out = nn.Linear(len(weights[0]), len(weights), dtype=torch.float64)
        self.out.weight.data = torch.tensor(weights, dtype=torch.float64)
        self.out.bias.data.fill_(bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.act(x))
        return out


class Units(nn.Module):
    """Units h = relu(x), and F = f(h)."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act, self.f = nn.ReLU(), f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.act(x))


class Cut(nn.Module):
    """A net that can also run, from input to output, with units at `act` replaced."""

    before: nn.Module
    act: nn.Module
    after: nn.Module

    def forward(self, x: Tensor, replace: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        h = self.act(self.before(x))
        out: Tensor = self.after(h if replace is None else replace(h))
        return out


class Dense(Cut):
    """Four units between nonlinear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.before, self.act = nn.Linear(5, 4), nn.Tanh()
        self.after = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
        self.double()


class Conv(Cut):
    """Five channels of 2 × 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.before, self.act = nn.Conv2d(2, 5, 2), nn.Tanh()
        self.after = nn.Sequential(nn.Conv2d(5, 3, 2), nn.Softplus(), nn.Flatten(), nn.Linear(3, 3))
        self.double()
