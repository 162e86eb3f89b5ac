"""The weights behind a place are permuted, the head and the model itself stay as they are."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.engine.in_process import program_of
from tests.engine.nets import net_of, program
from unitrank_engine.program import Program
from unitrank_engine.program.outputs.reduction import reduced
from unitrank_engine.program.permuted_tail import OwnTail, own_tail
from unitrank_engine.program.permuted_tail import weights as permuting
from unitrank_engine.program.permuted_tail.weights import permuted
from unitrank_schemas.jobs.targets import Target


def run(tail: OwnTail, x: Tensor, output: str = "output") -> tuple[Tensor, Tensor]:
    """The place's value and the output."""
    split = tail.program.split(tail.place, output)
    h, live = split.head(tail.program.lift((x,)))
    with torch.no_grad():
        return h, split.tail(h, live)


def tail_of(net: Program, layer: str, at: str = "output") -> OwnTail:
    return own_tail(net, net.place(layer, at), "output")


def reversed_entries(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """A permutation that a test can repeat on the eager module."""
    return tensor.flatten().flip(0).reshape(tensor.shape)


@pytest.fixture
def reversing(monkeypatch: pytest.MonkeyPatch) -> np.random.Generator:
    """Permutations reverse the entries."""
    monkeypatch.setattr(permuting, "_permuted", reversed_entries)
    return np.random.default_rng(0)


class Normed(nn.Module):
    """A batch norm of images behind the place, with statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.act, self.conv, self.norm, self.out = nn.ReLU(), nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Linear(16, 3)
        for tensor in (self.norm.weight, self.norm.bias, self.norm.running_mean, self.norm.running_var):
            nn.init.uniform_(tensor, 0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.norm(self.conv(self.act(x))).flatten(1))
        return out


class Called(nn.Module):
    """A layer that is called before and behind the place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.act, self.out = nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.fc(self.act(self.fc(x))))
        return out


class Scaled(nn.Module):
    """A weight behind the place that is computed from parameters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.act, self.out = nn.Tanh(), parametrizations.weight_norm(nn.Linear(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.act(x))
        return out


@pytest.mark.parametrize("name", ["functional", "in_place", "residual", "convolutional", "transformer", "attentive"])
def test_own_tail_when_nothing_is_permuted_then_computes_the_same(name: str) -> None:
    net = program(name)
    x = net_of(name).examples(3)
    for place in net.places:
        tail, split = own_tail(net, place, "output"), net.split(place, "output")
        h, live = split.head(net.lift((x,)))

        torch.testing.assert_close(run(tail, x), (h, split.tail(h, live)), rtol=0, atol=0)


def entries(tail: OwnTail) -> list[list[float]]:
    """The sorted entries of each weight that the tail reads."""
    return [weight.flatten().sort().values.tolist() for each in tail.weights for weight in each.read]


def test_permuted_when_the_context_fails_then_all_weights_are_restored() -> None:
    net = program("functional")
    x, tail = net_of("functional").examples(4), tail_of(net, "fc1")
    before, sorted_before = [parameter.clone() for parameter in net.module.parameters()], entries(tail)
    intact = run(tail, x)

    def fail_inside() -> None:
        with permuted(tail.weights, np.random.default_rng(0)):
            h, output = run(tail, x)
            assert torch.equal(h, intact[0])
            assert not torch.allclose(output, intact[1])
            assert entries(tail) == sorted_before
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    torch.testing.assert_close(run(tail, x), intact, rtol=0, atol=0)
    assert all(map(torch.equal, before, net.module.parameters()))


@pytest.mark.parametrize(
    ("net", "shape", "names"),
    [(Normed(), (3, 3, 3), ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "out.weight", "out.bias"]),
     (Scaled(), (5,), ["out.bias", "out.parametrizations.weight.original0", "out.parametrizations.weight.original1"])],
    ids=["batch norm", "weight norm"],
)  # fmt: skip
def test_permuted_when_entries_are_reversed_then_equals_the_eager_module_with_reversed_parameters(
    net: nn.Module, shape: tuple[int, ...], names: list[str], reversing: np.random.Generator
) -> None:
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    tail = tail_of(program_of(net, x[:2]), "act")
    eager = deepcopy(net)
    with torch.no_grad():
        parameters = dict(eager.named_parameters())
        assert sorted(parameters) == sorted(names)
        for parameter in parameters.values():
            parameter.copy_(reversed_entries(parameter.clone(), reversing))
        with permuted(tail.weights, reversing):
            _, output = run(tail, x)

        torch.testing.assert_close(output, eager(x), rtol=1e-4, atol=1e-5)


def test_permuted_when_a_layer_is_also_called_before_the_place_then_only_the_later_call_changes(
    reversing: np.random.Generator,
) -> None:
    net, x = Called(), torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    tail, later = tail_of(program_of(net, x[:2]), "act"), deepcopy(net)
    with torch.no_grad():
        for parameter in later.parameters():
            parameter.copy_(reversed_entries(parameter.clone(), reversing))
        with permuted(tail.weights, reversing):
            h, output = run(tail, x)

        torch.testing.assert_close(h, net.act(net.fc(x)))
        torch.testing.assert_close(output, later.out(later.fc(h)))


@pytest.mark.parametrize(
    ("net", "layer", "varies"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "1", False),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "0", False),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 4)), "0", True),
        (nn.Sequential(nn.ReLU(), nn.LayerNorm(3)), "0", False),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 1, bias=False)), "0", True),
    ],
)
def test_varies_when_no_weight_behind_the_place_has_different_entries_then_is_false(
    net: nn.Module, layer: str, varies: bool
) -> None:
    assert tail_of(program_of(net, torch.ones(2, 3)), layer).varies is varies


def test_own_tail_when_the_output_is_reduced_then_keeps_the_reduction() -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Conv2d(4, 3, 1))
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    net = reduced(program_of(module, x[:2]), "output", Target.model_validate({"class": 0, "reduce": "mean"}))

    _, output = run(tail_of(net, "1"), x)

    torch.testing.assert_close(output, module(x).mean((2, 3)).detach())


def test_own_tail_when_asked_again_then_is_the_one_that_the_program_keeps() -> None:
    net = program("functional")

    assert tail_of(net, "fc1") is tail_of(net, "fc1")
    assert tail_of(net, "fc1") is not tail_of(net, "fc2")
    assert tail_of(net, "fc1").program.own_tails == {}
