"""Small networks whose units are known. Each one has the layer `act`, which is ranked."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from unitrank_engine.program import Program

Net = Callable[[], nn.Module]

UNITS = 32
SIDE = 4
"""Height and width of the images of `Channels`."""


class Equal(nn.Module):
    """All units have the same effect: F depends only on their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.out = nn.Softplus()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.act(x).sum(1, keepdim=True) / UNITS**0.5)
        return out


class Unequal(nn.Module):
    """Few units have a large effect, as in a trained network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.act = nn.ReLU()
        self.hidden, self.out = nn.Linear(UNITS, 16), nn.Linear(16, 1)
        with torch.no_grad():
            self.hidden.weight *= torch.rand(UNITS) ** 3 * 8

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.hidden(self.act(x)).tanh())
        return out


class Weighted(nn.Module):
    """F is the softplus of a weighted sum of the units; all weights are positive."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.out = nn.Linear(UNITS, 1)
        with torch.no_grad():
            self.out.weight.copy_(self.weights())

    def weights(self) -> Tensor:
        return torch.linspace(0.02, 0.5, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.softplus(self.out(self.act(x)))


class Dominant(Weighted):
    """One unit has 100 times the weight of each other unit."""

    def weights(self) -> Tensor:
        return torch.cat([torch.full((1,), 5.0), torch.full((UNITS - 1,), 0.05)])


class Twins(Weighted):
    """Two units have each weight, so that exchanging such a pair changes nothing."""

    def weights(self) -> Tensor:
        return torch.linspace(0.02, 0.5, UNITS // 2).repeat(2)


class TwoClasses(nn.Module):
    """A linear tail with two logits; the weights of one logit are minus those of the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.act = nn.ReLU()
        self.out = nn.Linear(UNITS, 2, bias=False)
        with torch.no_grad():
            self.out.weight[1] = -self.out.weight[0]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.act(x))
        return out


class Channels(nn.Module):
    """A small network for images; its 16 channels are ranked."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.act = nn.ReLU()
        self.last = nn.Conv2d(16, 8, 3)
        self.out = nn.Linear(8 * (SIDE - 2) ** 2, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.conv(x.reshape(-1, 1, SIDE, SIDE)))
        out: Tensor = self.out(self.last(h).relu().flatten(1))
        return out


@cache
def program(net: Net) -> Program:
    """Return the exported network. All jobs of a process share it."""
    example = torch.ones(2, SIDE**2 if net is Channels else UNITS)
    exported = torch.export.export(net().eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    return Program.from_exported(exported)
