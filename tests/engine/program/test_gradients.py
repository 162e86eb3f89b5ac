"""Where gradients come back to, against what autograd finds."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of
from tests.engine.nets import MAKERS, net_of, program
from unitrank_engine.program import Program
from unitrank_engine.program.gradients import reached_by_gradients


class Ends(nn.Module):
    """A layer, an activation, and what the end makes of it."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc, self.act, self.end = nn.Linear(4, 3), nn.Tanh(), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.act(self.fc(x)))


def straight_through(h: Tensor) -> Tensor:
    return h + (h.round() - h).detach()


def reached_layers(made: Program) -> set[tuple[str, str]]:
    reached = reached_by_gradients(made.module.graph, [value.node for value in made.outputs.values()])
    return {(place.layer, place.at) for place in made.places if place.node in reached}


def differentiable_layers(made: Program, examples: Tensor) -> set[tuple[str, str]]:
    """The places whose gradient of a random sum of the outputs is not zero."""
    found = set()
    for place in made.places:
        split = made.split(place, next(iter(made.outputs)))
        h, live = split.head((examples,))
        h = h.detach().requires_grad_()
        output = split.tail(h, live)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
        if output.requires_grad:
            (gradient,) = torch.autograd.grad((output * weights).sum(), h, materialize_grads=True)
            found |= {(place.layer, place.at)} if gradient.any() else set()
    return found


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
def test_reached_when_an_end_lets_gradients_through_or_not_then_is_what_autograd_finds(
    end: Callable[[Tensor], Tensor], there: bool
) -> None:
    torch.manual_seed(0)
    made = program_of(Ends(end), torch.zeros(2, 4))
    before = {("input", "output"), ("fc", "output"), ("act", "output")}

    assert (reached_layers(made) >= before) is there
    assert reached_layers(made) == differentiable_layers(made, torch.randn(16, 4))


@pytest.mark.parametrize("name", MAKERS)
def test_reached_when_a_net_is_smooth_then_is_every_place(name: str) -> None:
    made = program(name)

    assert reached_layers(made) == {(place.layer, place.at) for place in made.places}
    assert reached_layers(made) == differentiable_layers(made, net_of(name).examples(16))


def test_reached_when_a_gate_is_a_comparison_then_only_what_it_gates_is() -> None:
    class Gated(nn.Module):
        """A gate that is open or shut."""

        def __init__(self) -> None:
            super().__init__()
            self.gate, self.fc = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) * (self.gate(x) > 0).float()

    torch.manual_seed(0)

    assert reached_layers(program_of(Gated(), torch.zeros(2, 3))) >= {("input", "output"), ("fc", "output")}
    assert ("gate", "output") not in reached_layers(program_of(Gated(), torch.zeros(2, 3)))
