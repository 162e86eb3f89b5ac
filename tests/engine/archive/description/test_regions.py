"""An archive with a region without gradients has the gradients of eager PyTorch."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

from tests.mutants.operators.networks import Call, Operand
from tests.mutants.operators.table import CALLS
from unitrank_engine.archive import ArchiveError, clean, load
from unitrank_engine.archive.description.operators import may_return_argument
from unitrank_engine.program import Program

Region = Callable[["Gated", Tensor], Tensor]


class Gated(nn.Module):
    """A gate on hidden values, of which `region` computes a part without gradients."""

    def __init__(self, region: Region) -> None:
        super().__init__()
        self.a, self.b, self.region = nn.Linear(6, 5), nn.Linear(5, 3), region
        self.frozen = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Dropout())
        self.count: Tensor
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        return self.b(h) * self.region(self, h)


def context(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.sigmoid(h.sum(-1, keepdim=True))


@torch.no_grad()
def decorator(net: Gated, h: Tensor) -> Tensor:
    return torch.sigmoid(h.sum(-1, keepdim=True))


def switch(net: Gated, h: Tensor) -> Tensor:
    torch.set_grad_enabled(False)
    gate = torch.sigmoid(h.sum(-1, keepdim=True))
    torch.set_grad_enabled(True)
    return gate


def nested(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(h.sum(-1, keepdim=True))
        with torch.enable_grad():
            more = gate * h.mean(-1, keepdim=True)
        with torch.no_grad():
            gate = gate * 2
        return gate + more * 2


def partly_detached(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(h.sum(-1, keepdim=True))
    return gate * h.mean(-1, keepdim=True)


def frozen_layers(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        rows = h.shape[0]
        left, right = net.frozen(h).reshape(rows, 2, 2).unbind(1)
    return left.sum(1, keepdim=True) * right.reshape(rows * 2).view(rows, -1).sum(1, keepdim=True)


def of_a_weight(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        norm = net.b.weight.norm()
    return h.sum(-1, keepdim=True) / norm


def twice(net: Gated, h: Tensor) -> Tensor:
    return context(net, h) + context(net, h * 2)


REGIONS = [context, decorator, switch, nested, partly_detached, frozen_layers, of_a_weight, twice]


def saved(module: nn.Module, path: Path) -> Path:
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    torch.export.save(torch.export.export(module.eval(), (torch.ones(2, 6),), dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.check
def test_gradient_of_an_archive_with_a_region_equals_that_of_eager_pytorch(region: Region, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = Gated(region), torch.randn(4, 6, requires_grad=True)
    digest = clean(saved(module, tmp_path / "model.pt2"), tmp_path / "clean")
    program = Program.from_exported(load(tmp_path / "clean"))
    (output,) = program.module(x)
    (gradient,) = torch.autograd.grad(output[:, 1].sum(), x)
    (expected,) = torch.autograd.grad(module(x)[:, 1].sum(), x)

    assert torch.allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(output, module(x), atol=1e-6)
    assert clean(tmp_path / "clean", tmp_path / "again") == digest


def in_place(net: Gated, h: Tensor) -> Tensor:
    gate = h.sum(-1, keepdim=True)
    with torch.no_grad():
        gate.mul_(2)
    return gate


def in_place_of_a_view(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        h[:, 0] = 0
    return h.sum(-1, keepdim=True)


def in_place_of_a_dropped_value(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        nn.functional.dropout(h, 0.5, training=False).mul_(2)
    return h.sum(-1, keepdim=True)


def in_place_of_a_buffer(net: Gated, h: Tensor) -> Tensor:
    with torch.no_grad():
        net.count.add_(h.mean())
    return h.sum(-1, keepdim=True)


@pytest.mark.parametrize("region", [in_place, in_place_of_a_view, in_place_of_a_dropped_value, in_place_of_a_buffer])
@pytest.mark.check
def test_clean_when_a_region_changes_an_outer_value_in_place_then_refuses(region: Region, tmp_path: Path) -> None:
    """In eager PyTorch the gradient ignores such a change."""
    with pytest.raises(ArchiveError, match="changes a value in place that comes from outside") as refusal:
        clean(saved(Gated(region), tmp_path / "model.pt2"), tmp_path / "clean")
    assert refusal.value.code == "program_refused"


def test_gradient_when_an_export_without_gradients_enables_them_in_a_region_then_is_kept(tmp_path: Path) -> None:
    class Enabled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                y = x.tanh()
            return y * 2

    with torch.no_grad():
        saved(Enabled(), tmp_path / "model.pt2")
    clean(tmp_path / "model.pt2", tmp_path / "clean")
    x = torch.randn(3, 6, requires_grad=True)
    (output,) = Program.from_exported(load(tmp_path / "clean")).module(x)

    assert torch.allclose(torch.autograd.grad(output.sum(), x)[0], 2 - 2 * x.tanh() ** 2)


@pytest.mark.check
def test_operators_that_return_the_memory_of_an_argument_are_known(tmp_path: Path) -> None:
    """A change of such a result in place changes the argument too."""
    unknown = [name for name in CALLS if not may_return_argument(f"torch.ops.aten.{name}") and any(map(shares(name), CALLS[name]))]

    assert unknown == []


def shares(name: str) -> Callable[[str], bool]:
    """Whether a result of the call and an argument have the same memory."""

    def of(text: str) -> bool:
        call, tensors = Call.of(name, text), list[Tensor]()

        def value(argument: object) -> object:
            if isinstance(argument, list):
                return [value(part) for part in argument]
            if isinstance(argument, Operand):
                tensors.append(argument.example(Random(0)))
                return tensors[-1]
            return argument

        try:
            result = call.operator(*map(value, call.args), **{key: value(part) for key, part in call.kwargs.items()})
        except (IndexError, RuntimeError):
            # The random positions of this call are outside its tensor.
            return False
        memory = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        leaves = torch.utils._pytree.tree_leaves(result)
        return any(isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() in memory for leaf in leaves)

    return of
