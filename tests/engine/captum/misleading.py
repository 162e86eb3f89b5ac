"""Nets on which Captum 0.9's DeepLIFT is wrong, with the reason."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from captum.testing.helpers.basic_models import BasicModelWithReusedLinear
from torch import Tensor, nn
from torch.nn import functional

from tests.engine.in_process import program_of
from tests.engine.nets import Shared
from unitrank_engine.program import Program


class Between(nn.Module):
    """A function or module between two dense layers."""

    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(5, 6), middle, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


class SubclassedReLU(nn.ReLU):
    """A subclass, for which Captum has no rule, because it looks rules up by the exact type."""


def _convolutional(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), *middle, nn.Flatten(), nn.LazyLinear(3))


def _sums() -> nn.Module:
    """Sums of neighbours, then a max pool: a sum may stay equal while its terms change."""
    sums = nn.Conv1d(1, 1, 2, stride=2, bias=False)
    nn.init.ones_(sums.weight)
    return nn.Sequential(sums, nn.MaxPool1d(2), nn.Flatten(), nn.Linear(2, 3))


@dataclass(frozen=True)
class Net:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (5,)
    """Shape of one example."""


NETS = {
    "functional relu": Net(lambda: Between(functional.relu)),
    "subclass of relu": Net(lambda: Between(SubclassedReLU())),
    "gelu": Net(lambda: Between(nn.GELU())),
    "silu": Net(lambda: Between(nn.SiLU())),
    "layer norm": Net(lambda: Between(nn.LayerNorm(6))),
    "relu thrice": Net(Shared, (6,)),
    "relu and dense layer twice": Net(BasicModelWithReusedLinear, (3,)),
    "softmax": Net(lambda: Between(nn.Softmax(1))),
    "max pool of sums": Net(_sums, (1, 8)),
    "relu before a max pool": Net(partial(_convolutional, nn.ReLU(), nn.MaxPool2d(2)), (1, 8, 8)),
    "windows that overlap": Net(partial(_convolutional, nn.MaxPool2d(3, 1)), (1, 8, 8)),
}
Case = tuple[str, str]
"""A net, and a layer of it."""
RAISES: list[Case] = [("relu thrice", "input"), ("relu thrice", "fc1"), ("relu and dense layer twice", "input")]
MIXES: list[Case] = [("softmax", "input"), ("softmax", "first"), ("max pool of sums", "input")]
INCOMPLETE: list[Case] = [
    *((name, layer) for name in ("functional relu", "gelu", "silu", "softmax") for layer in ("input", "first")),
    *((name, "first") for name in ("subclass of relu", "layer norm")),
    *(("relu before a max pool", layer) for layer in ("input", "0")),
    ("windows that overlap", "input"),
]
CASES = list(dict.fromkeys([*INCOMPLETE, *RAISES, *MIXES]))


@cache
def module(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = NETS[name].make().eval()
    net(torch.zeros(2, *NETS[name].shape))
    return net


@cache
def program(name: str) -> Program:
    return program_of(module(name), torch.zeros(2, *NETS[name].shape))


def examples(name: str) -> tuple[Tensor, Tensor]:
    """Four examples and their baselines.

    The last example's first two sums are equal at x and at the baseline, and their terms are not.
    """
    x, start = 2 * torch.randn(2, 4, *NETS[name].shape, generator=torch.Generator().manual_seed(1))
    if name == "max pool of sums":
        x, start = x.mul(4).round(), start.mul(4).round()
        x[-1, 0, :4], start[-1, 0, :4] = torch.tensor([[1.0, 2, 5, 1], [2, 1, 2, 4]])
    return x, start


def in_known_modules(name: str) -> nn.Module:
    """The same dense layers with an nn.ReLU module between any two, for which Captum is right."""
    layers: list[nn.Module] = []
    for layer in module(name).modules():
        if isinstance(layer, nn.Linear):
            layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
