"""The places that gradients reach, compared with autograd."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of
from tests.engine.nets import MAKERS, net_of, program
from unitrank_engine.program import Program
from unitrank_engine.program.gradients import reached_by_gradients


class Ends(nn.Module):
    """A layer, an activation, and a given function of the activation."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc, self.act, self.end = nn.Linear(4, 3), nn.Tanh(), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.act(self.fc(x)))


def straight_through(h: Tensor) -> Tensor:
    return h + (h.round() - h).detach()


def reached_layers(model: Program) -> set[tuple[str, str]]:
    reached = reached_by_gradients(model.module.graph, [value.node for value in model.outputs.values()])
    return {(place.layer, place.at) for place in model.places if place.node in reached}


def differentiable_layers(model: Program, examples: Tensor) -> set[tuple[str, str]]:
    """The places whose gradient of a random sum of the outputs is not zero."""
    layers = set()
    for place in model.places:
        split = model.split(place, next(iter(model.outputs)))
        h, live = split.head((examples,))
        h = h.detach().requires_grad_()
        output = split.tail(h, live)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
        if output.requires_grad:
            (gradient,) = torch.autograd.grad((output * weights).sum(), h, materialize_grads=True)
            layers |= {(place.layer, place.at)} if gradient.any() else set()
    return layers


@pytest.mark.parametrize(
    ("end", "there"),
    [
        (lambda h: h.exp(), True),
        (lambda h: nn.functional.one_hot(h.argmax(1), 3).float(), False),
        (lambda h: h.round(), False),
        (lambda h: torch.div(h, 0.3, rounding_mode="floor"), False),
        (lambda h: torch.div(h, 0.3), True),
        (lambda h: (h > 0).float(), False),
        (lambda h: (h > 0).float() * h, True),
        (lambda h: torch.where(h > 0, 1.0, 2.0), False),
        (lambda h: torch.where(h > 0, h, 2.0), True),
        (lambda h: h.sign() + h.detach(), False),
        (straight_through, True),
        (lambda h: h.topk(2, 1).values, True),
        (lambda h: h.topk(2, 1).indices.float(), False),
        (lambda h: h.sort(1).values, True),
        (lambda h: h.long().float(), False),
        (lambda h: h.double().float(), True),
    ],
)
def test_reached_when_an_operator_passes_or_blocks_gradients_then_agrees_with_autograd(
    end: Callable[[Tensor], Tensor], there: bool
) -> None:
    torch.manual_seed(0)
    model = program_of(Ends(end), torch.zeros(2, 4))
    before = {("input", "output"), ("fc", "output"), ("act", "output")}

    assert (reached_layers(model) >= before) is there
    assert reached_layers(model) == differentiable_layers(model, torch.randn(16, 4))


@pytest.mark.parametrize("name", MAKERS)
def test_reached_when_a_net_is_smooth_then_is_every_place(name: str) -> None:
    model = program(name)

    assert reached_layers(model) == {(place.layer, place.at) for place in model.places}
    assert reached_layers(model) == differentiable_layers(model, net_of(name).examples(16))


def test_reached_when_a_gate_is_a_comparison_then_only_the_gated_value_is_reached() -> None:
    class Gated(nn.Module):
        """Multiplies a layer by a gate that is 0 or 1."""

        def __init__(self) -> None:
            super().__init__()
            self.gate, self.fc = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) * (self.gate(x) > 0).float()

    torch.manual_seed(0)

    assert reached_layers(program_of(Gated(), torch.zeros(2, 3))) >= {("input", "output"), ("fc", "output")}
    assert ("gate", "output") not in reached_layers(program_of(Gated(), torch.zeros(2, 3)))
