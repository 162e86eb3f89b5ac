"""Head and tail together compute the model at each place, also with masks over repeated rows."""

import pytest
import torch
from torch import Tensor, fx, nn

from tests.engine.in_process import program_of
from tests.engine.nets import MAKERS, net_of, program
from unitrank_engine.program import Place, Program


@pytest.mark.parametrize("name", MAKERS)
def test_tail_after_head_is_the_whole_model_at_every_place(name: str) -> None:
    x = net_of(name).examples(5)
    whole = program(name).forward((x,), "output")
    for place in program(name).places:
        split = program(name).split(place, "output")
        h, live = split.head((x,))

        assert h.shape == (5, *place.shape)
        torch.testing.assert_close(split.tail(h, live), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_many_masks_in_one_pass_equal_overriding_the_node_one_by_one(name: str) -> None:
    model, rows, masks = program(name), 3, 4
    x = net_of(name).examples(rows)
    for place in model.places:
        split = model.split(place, "output")
        h, live = split.head((x,))
        mask = torch.rand(masks, 1, *place.shape, generator=torch.Generator().manual_seed(1)) < 0.5
        changed = torch.where(mask, torch.tensor(0.25), h)
        if not split.repeatable:
            continue

        together = split.tail(changed.flatten(0, 1), live).reshape(masks, rows, -1)

        for got, values in zip(together, changed, strict=True):
            torch.testing.assert_close(got, _overridden(model, place, x, values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["functional", "in_place", "shared", "residual", "convolutional", "attentive"])
def test_every_place_of_the_usual_nets_takes_many_masks_at_once(name: str) -> None:
    assert all(program(name).split(place, "output").repeatable for place in program(name).places)


class Picking(nn.Module):
    """Each row answers at another position, as at the last token of a padded sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Linear(2, 3)

    def forward(self, x: Tensor, last: Tensor) -> Tensor:
        rows = torch.arange(x.shape[0], device=x.device)
        return self.token(x)[rows, last] * torch.ones_like(rows)[:, None]


def test_rows_that_are_numbered_are_numbered_on_when_they_are_repeated() -> None:
    model = program_of(Picking(), torch.randn(3, 4, 2), torch.tensor([3, 0, 1]))
    split = model.split(model.place("token", "output"), "output")
    h, live = split.head((torch.randn(3, 4, 2), torch.tensor([3, 0, 1])))
    masked = h * torch.tensor([1.0, 0.5, 0.0])[:, None, None, None]

    together = split.tail(masked.flatten(0, 1), live).reshape(3, 3, -1)

    assert split.repeatable
    assert split.separate
    for got, values in zip(together, masked, strict=True):
        assert torch.equal(got, torch.stack([values[0, 3], values[1, 0], values[2, 1]]))


def test_head_tracks_no_gradient_and_tail_only_that_of_h() -> None:
    model = program("convolutional")
    split = model.split(model.place("features.0", "output"), "output")
    h, live = split.head((net_of("convolutional").examples(2).requires_grad_(),))
    leaf = h.clone().requires_grad_()

    (gradient,) = torch.autograd.grad(split.tail(leaf, live).sum(), leaf)

    assert not h.requires_grad
    assert gradient.shape == h.shape
    assert all(parameter.grad is None for parameter in model.module.parameters())


class _Override(fx.Interpreter):
    """Runs the graph with a given value for one node."""

    def __init__(self, module: fx.GraphModule, node: fx.Node, value: Tensor) -> None:
        super().__init__(module)
        self.node = node
        self.value = value

    def run_node(self, n: fx.Node) -> object:
        return self.value if n is self.node else super().run_node(n)


def _overridden(model: Program, place: Place, x: Tensor, h: Tensor) -> Tensor:
    with torch.no_grad():
        result = _Override(model.module, place.node, h.movedim(0, place.batch_axis)).run(x)
    output = result[0] if isinstance(result, tuple | list) else result
    assert isinstance(output, Tensor)
    return output
