"""Programs that are refused, and the state that a program leaves unchanged."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import export, program_of
from tests.engine.nets import MAKERS, net_of, program
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program

BATCH = torch.export.Dim("batch", min=1)


class Averaged(nn.Module):
    """Takes sequences of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x).mean(1)


@pytest.mark.parametrize("layer", [nn.Dropout(), nn.BatchNorm1d(4), nn.AlphaDropout()], ids=str)
def test_a_program_exported_in_training_mode_is_refused(layer: nn.Module) -> None:
    module = nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 2)).train()
    exported = torch.export.export(module, (torch.randn(2, 3),), dynamic_shapes=({0: BATCH},))

    with pytest.raises(EngineError, match=r"model\.eval\(\)") as caught:
        Program.from_exported(exported)

    assert caught.value.code == "training_mode"


def test_a_fixed_batch_is_refused_with_the_way_to_export_it() -> None:
    exported = torch.export.export(net_of("functional").module, (torch.randn(2, 6),))

    with pytest.raises(EngineError, match=r"fixed shape .2, 6.*dynamic_shapes") as caught:
        Program.from_exported(exported)

    assert caught.value.code == "static_batch"


def test_another_dynamic_axis_than_the_batch_is_refused() -> None:
    length = torch.export.Dim("length", min=2)
    exported = torch.export.export(Averaged(), (torch.randn(2, 5, 3),), dynamic_shapes=({0: BATCH, 1: length},))

    with pytest.raises(EngineError, match="only the batch may vary") as caught:
        Program.from_exported(exported)

    assert caught.value.code == "dynamic_shape"


@pytest.mark.parametrize("name", MAKERS)
def test_the_graph_computes_what_the_module_does_at_any_batch_size(name: str) -> None:
    net = net_of(name)
    for rows in (1, 2, 7):
        x = net.examples(rows)
        with torch.no_grad():
            expected = net.module(x)

        torch.testing.assert_close(program(name).forward((x,), "output"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_no_operation_of_the_graph_works_in_place(name: str) -> None:
    schemas = [node.target._schema for node in program(name).module.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]

    assert schemas
    assert not [schema.name for schema in schemas if schema.is_mutable]


def test_parameters_are_frozen_and_the_exported_module_keeps_its_parameters() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    frozen = module[0].bias.requires_grad_(False)
    before = deepcopy(module.state_dict())

    model = program_of(module, torch.randn(2, 3))

    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert [parameter.requires_grad for parameter in module.parameters()] == [True, False, True, True]
    assert frozen is module[0].bias
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not module[0]._forward_hooks
    assert not module[0]._forward_pre_hooks


def test_memory_is_shared_with_the_exported_program_and_tied_weights_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.relu(self.a(x)))

    exported = export(Tied(), torch.randn(2, 4))

    model = Program.from_exported(exported)

    (parameter,) = model.module.parameters()
    assert model.bytes == 4 * 4 * 4
    assert parameter.data_ptr() == next(iter(exported.state_dict.values())).data_ptr()


class Assigning(nn.Module):
    """Writes into slices between two layers."""

    def __init__(self, write: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.fc, self.head, self.write = nn.Linear(4, 3), nn.Linear(5, 2), write

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.write(self.fc(x), x)))


def _into_zeros(z: Tensor, x: Tensor) -> Tensor:
    out = torch.zeros(z.shape[0], 5)
    out[:, :3] = z
    return out


def _with_steps(z: Tensor, x: Tensor) -> Tensor:
    out = torch.zeros(z.shape[0], 6)
    out[:, ::2] = z
    return out[:, :5]


def _added(z: Tensor, x: Tensor) -> Tensor:
    z = torch.cat([z, x[:, :2]], 1)
    z[:, 1:] += x
    return z


def _one_column(z: Tensor, x: Tensor) -> Tensor:
    z = torch.cat([z, z], 1)
    z[:, 2] = x[:, 0]
    return z[:, :5]


def _copied(z: Tensor, x: Tensor) -> Tensor:
    out = torch.zeros(z.shape[0], 5)
    out.copy_(torch.cat([z, z[:, :2]], 1))
    return out


def _of_another_type(z: Tensor, x: Tensor) -> Tensor:
    out = torch.zeros(z.shape[0], 5, dtype=torch.float64)
    out[:, :3] = z
    return out.float()


def _broadcast(z: Tensor, x: Tensor) -> Tensor:
    out = torch.zeros(z.shape[0], 5)
    out[:] = z[:, :1]
    return out


@pytest.mark.parametrize("write", [_into_zeros, _with_steps, _added, _one_column, _copied, _of_another_type, _broadcast])
def test_gradients_pass_through_assigned_values(write: Callable[[Tensor, Tensor], Tensor]) -> None:
    module = Assigning(write).eval()
    model = program_of(module, torch.randn(3, 4))
    x = torch.randn(5, 4, requires_grad=True)

    (gradient,) = torch.autograd.grad(model.module(x)[0][:, 1].sum(), x)
    (expected,) = torch.autograd.grad(module(x)[:, 1].sum(), x)

    torch.testing.assert_close(gradient, expected)


class Remembering(nn.Module):
    """Counts its calls in a buffer, and changes its argument in place."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        x.mul_(2)
        return self.fc(x) * self.calls


def test_a_pass_does_not_change_the_next_pass() -> None:
    module = Remembering()
    model = program_of(module, torch.randn(2, 3))
    x = torch.randn(4, 3)
    before = x.clone()

    first, second = model.forward((x,), "output"), model.forward((x,), "output")

    assert torch.equal(first, second)
    assert torch.equal(x, before)
    torch.testing.assert_close(first, module.fc(2 * before))
