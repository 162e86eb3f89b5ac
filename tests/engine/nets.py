"""Small networks of kinds on which attribution libraries fail, with taps on their places."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.engine.in_process import program_of
from unitrank_engine.program import Program

Key = tuple[str, str]
"""A place's layer and side."""


@dataclass(frozen=True)
class Tap:
    """A place's value in the eager module: output or input of the `call`-th call of `module`."""

    module: str
    side: str = "output"
    call: int = 0


@dataclass(frozen=True)
class Net:
    """A module in evaluation mode, the shape of one example, and its places."""

    module: nn.Module
    shape: tuple[int, ...]
    taps: dict[Key, Tap]
    bypassed: frozenset[Key] = field(default_factory=frozenset)
    """Places that are not cuts."""

    def examples(self, count: int, seed: int = 0) -> Tensor:
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(seed))


class Functional(nn.Module):
    """Activations without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(functional.relu(self.fc2(torch.relu(self.fc1(x)))))


class InPlace(nn.Module):
    """An in-place ReLU: it overwrites the value that a hook on `fc1` would read."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.relu1 = nn.Linear(6, 8), nn.ReLU(inplace=True)
        self.fc2, self.relu2 = nn.Linear(8, 5), nn.ReLU(inplace=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu2(self.fc2(self.relu1(self.fc1(x)))))


class Shared(nn.Module):
    """One activation module called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3, self.fc4 = nn.Linear(6, 7), nn.Linear(7, 7), nn.Linear(7, 5), nn.Linear(5, 3)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc4(self.act(self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(7, 9), nn.Linear(9, 7), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.act(self.fc1(x)))


class Residual(nn.Module):
    """Residual blocks: a block's output is a cut, and no place inside a block is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Linear(6, 7), nn.Sequential(Block(), Block()), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x).relu()))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU()
        )
        self.head = nn.Linear(5 * 2 * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1))


class Transformer(nn.Module):
    """torch's encoder layer over four tokens; inside it, the batch is the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, activation="gelu")
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).transpose(0, 1)
        return self.head(self.encoder(tokens).mean(0))


class Attention(nn.Module):
    """Attention by hand, in a module that returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.query(x) @ self.key(x).transpose(1, 2) / 6**0.5).softmax(-1)
        return weights @ self.value(x), weights


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attention, self.norm, self.head = nn.Linear(3, 6), Attention(), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        mixed, _ = self.attention(x)
        return self.head(torch.tanh(self.norm(x + mixed)).mean(1))


def _outputs(*layers: str) -> dict[Key, Tap]:
    return {(layer, "output"): Tap(layer) for layer in layers}


INPUT = {("input", "output"): Tap("", "input")}


def _functional() -> Net:
    taps = _outputs("fc1", "fc2", "fc3") | {("fc2", "input"): Tap("fc2", "input"), ("fc3", "input"): Tap("fc3", "input")}
    return Net(Functional(), (6,), INPUT | taps)


def _in_place() -> Net:
    before = {("relu1", "input"): Tap("fc1"), ("head", "input"): Tap("relu2")}
    return Net(InPlace(), (6,), INPUT | _outputs("fc1", "relu1", "fc2", "relu2", "head") | before)


def _shared() -> Net:
    calls = {("act", "output"): Tap("act"), ("act@1", "output"): Tap("act", call=1), ("act@2", "output"): Tap("act", call=2)}
    before = {("act@1", "input"): Tap("fc2"), ("act@2", "input"): Tap("fc3")}
    return Net(Shared(), (6,), INPUT | _outputs("fc1", "fc2", "fc3", "fc4") | calls | before)


def _residual() -> Net:
    inner = _outputs("blocks.0.fc1", "blocks.0.act", "blocks.0.fc2", "blocks.1.fc1", "blocks.1.fc2")
    # The input of a block also goes around it: the place is the whole output of the previous block.
    cuts = _outputs("stem", "blocks.0", "blocks.1", "head") | {("blocks.1", "input"): Tap("blocks.0")}
    return Net(Residual(), (6,), INPUT | inner | cuts, frozenset(inner))


def _convolutional() -> Net:
    net = Convolutional()
    norm = net.features[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean, norm.running_var = torch.randn(4) / 3, torch.rand(4) + 0.5
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    layers = _outputs(*(f"features.{index}" for index in range(6)), "head")
    return Net(net, (2, 8, 8), INPUT | layers | {("features.2", "input"): Tap("features.1")})


def _transformer() -> Net:
    cuts = _outputs("embed", "encoder", "encoder.norm1", "encoder.norm2", "head")
    inner = _outputs("encoder.linear1", "encoder.linear2") | {("encoder.linear2", "input"): Tap("encoder.linear2", "input")}
    return Net(Transformer(), (4, 3), INPUT | cuts | inner, frozenset(inner))


def _attentive() -> Net:
    cuts = _outputs("embed", "norm", "head")
    inner = _outputs("attention.query", "attention.key", "attention.value", "attention")
    return Net(Attentive(), (4, 3), INPUT | cuts | inner, frozenset(inner))


MAKERS: dict[str, Callable[[], Net]] = {
    "functional": _functional,
    "in_place": _in_place,
    "shared": _shared,
    "residual": _residual,
    "convolutional": _convolutional,
    "transformer": _transformer,
    "attentive": _attentive,
}


@cache
def net_of(name: str) -> Net:
    """The net of this name, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MAKERS[name]()
    net.module.eval()
    return net


@cache
def program(name: str) -> Program:
    """The net, exported and loaded once in a session."""
    net = net_of(name)
    return program_of(net.module, net.examples(2))


def every_place() -> list[tuple[str, str, str]]:
    """Net, layer and side of every place that has a tap."""
    return [(name, *key) for name in MAKERS for key in net_of(name).taps]
