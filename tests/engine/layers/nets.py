"""Small networks with several layers, and a job on them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program

COUNT = 36


class Residual(nn.Module):
    """A convolution that later layers read around a block, as in a residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Conv1d(2, 4, 3), nn.ReLU()
        self.block, self.inner = nn.Conv1d(4, 4, 1), nn.Tanh()
        self.end = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        return self.end((h + self.inner(self.block(h))).flatten(1))


class Sequence(nn.Module):
    """A network whose batch is the second axis behind its first layer, as in recurrent ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.turned, self.end = nn.Linear(2, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x.transpose(1, 2))).transpose(0, 1)
        return self.end(torch.tanh(self.turned(h)).mean(0))


NETS: Mapping[str, tuple[type[nn.Module], list[str]]] = {
    "residual": (Residual, ["act", "inner"]),
    "sequence": (Sequence, ["first", "turned"]),
}


Net = tuple[nn.Module, Program, np.ndarray, np.ndarray]


def new_network(name: str) -> Net:
    """Return the module, its program, and its examples with labels."""
    torch.manual_seed(5)
    net = NETS[name][0]().eval()
    x = torch.randn(COUNT, 2, 7)
    return net, program_of(net, x[:2]), x.numpy(), np.arange(COUNT) % 3


network = cache(new_network)


def job(name: str, folder: Path, layer: str | list[str], methods: list[Any], **more: Any) -> tuple[Any, dict[str, np.ndarray]]:
    return job_on(network(name), folder, layer, methods, **more)


def job_on(net: Net, folder: Path, layer: str | list[str], methods: list[Any], **more: Any) -> tuple[Any, dict[str, np.ndarray]]:
    _, program, x, y = net
    settings: dict[str, Any] = {"clusters": {"by": "label"}, "fidelity": None, "units": "channel"}
    settings["ablation"] = {"fractions": [0.2, 0.5], "random": 19}
    return rank(program, folder, {"x": x, "y": y}, layer, methods, **(settings | more))
