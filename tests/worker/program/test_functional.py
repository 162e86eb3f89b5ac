"""What a program must be to be let in, and what is left as it was."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from tests.worker.engine import export, program_of
from tests.worker.nets import MAKERS, net_of, program
from worker.errors import EngineError
from worker.program import Program

BATCH = torch.export.Dim("batch", min=1)


class Averaged(nn.Module):
    """The length of its sequences is free."""

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


def test_parameters_are_frozen_and_those_of_the_exported_module_are_left_alone() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    frozen = module[0].bias.requires_grad_(False)
    before = deepcopy(module.state_dict())

    made = program_of(module, torch.randn(2, 3))

    assert not any(parameter.requires_grad for parameter in made.module.parameters())
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

    made = Program.from_exported(exported)

    (parameter,) = made.module.parameters()
    assert made.bytes == 4 * 4 * 4
    assert parameter.data_ptr() == next(iter(exported.state_dict.values())).data_ptr()
