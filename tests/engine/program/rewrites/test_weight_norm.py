"""A rewritten _weight_norm has the value and the gradient of torch's own operator, or is
refused.
"""

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.program.rewrites.weight_norm import weight_norm

aten = torch.ops.aten

SHAPES = [((4,), 0), ((4, 3), 0), ((4, 3), 1), ((4, 3, 2), 0), ((4, 3, 2), 1), ((4, 3, 2), 2), ((4, 3), -1)]


def lengths(shape: tuple[int, ...], axis: int) -> Tensor:
    return torch.randn([size if index == axis else 1 for index, size in enumerate(shape)], dtype=torch.float64)


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_a_weight_norm_of_any_axis_is_torchs_own(shape: tuple[int, ...], axis: int) -> None:
    v, g = torch.randn(shape, dtype=torch.float64), lengths(shape, axis)
    results = []
    for function in (weight_norm, aten._weight_norm.default):
        leaves = [v.clone().requires_grad_(), g.clone().requires_grad_()]
        value = function(*leaves, axis)
        results.append([value.detach(), *torch.autograd.grad(value.sin().sum(), leaves)])

    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("v", "g", "axis", "code"),
    [
        (torch.ones(64, 1), torch.ones(1, 1), 0, "weights_refused"),
        (torch.ones(4, 100), torch.ones(1, 1), 1, "weights_refused"),
        (torch.ones(4, 3, 2), torch.ones(4, 1, 1), 1, "weights_refused"),
        (torch.ones(4, 3), torch.ones(4, 3), 0, "weights_refused"),
        (torch.ones(4, 3), torch.ones(1, 1, 1), -1, "weights_refused"),
        (torch.ones(4, 0), torch.ones(4, 1), 0, "weights_refused"),
        (torch.ones(4, 3), torch.ones(4, 1).half(), 0, "weights_refused"),
        (torch.ones(4, 3), torch.ones(4, 1), 2, "program_refused"),
        (torch.ones(4, 3), torch.ones(4, 1), -2, "program_refused"),
        (torch.ones(4, 3), torch.ones(4, 1), 1 << 62, "program_refused"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(v: Tensor, g: Tensor, axis: int, code: str) -> None:
    with pytest.raises(EngineError, match="_weight_norm") as caught:
        weight_norm(v, g, axis)

    assert caught.value.code == code


def test_a_network_with_weight_norm_keeps_its_value() -> None:
    network = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 3)),
        nn.Flatten(),
        nn.utils.parametrizations.weight_norm(nn.Linear(9, 2)),
    ).double()
    x = torch.randn(4, 2, 5, dtype=torch.float64)

    program = program_of(network, x)

    assert "aten._weight_norm.default" not in {str(node.target) for node in program.module.graph.nodes}
    torch.testing.assert_close(program.forward((x,), "output"), network(x).detach(), rtol=1e-12, atol=1e-12)
