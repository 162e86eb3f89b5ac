"""Rewritten pads have the value and the gradient of torch's own operator, or are refused."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.program.rewrites.padding import pad, pad_by_operator

aten = torch.ops.aten

CIRCULAR = [*product(range(-2, 4), repeat=2)]
"""Pads of an axis with 5 values: each of these is legal in torch."""


def value_and_gradient(function: object, x: Tensor) -> tuple[Tensor, Tensor]:
    """The result for x, and the gradient of a weighted sum of it."""
    assert callable(function)
    x = x.clone().requires_grad_()
    result = function(x)
    weights = torch.arange(1, result.numel() + 1, dtype=result.dtype).sin().reshape(result.shape)
    (gradient,) = torch.autograd.grad((result * weights).sum(), [x])
    return result.detach(), gradient


def within(pads: list[int], length: int) -> bool:
    """Whether torch's kernel writes each value: the pads are at most what negative pads leave."""
    inner = length + sum(min(amount, 0) for amount in pads)
    return inner > 0 and max(pads) <= inner


@pytest.mark.parametrize("pads", CIRCULAR)
def test_a_circular_pad_when_torch_defines_it_then_is_torchs_own(pads: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    assert within(list(pads), 5)

    for ours, theirs in zip(
        value_and_gradient(lambda value: pad(value, pads, "circular"), x),
        value_and_gradient(lambda value: aten.pad.default(value, list(pads), "circular"), x),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("pads", [[1, 2, -1, 3], [2, -1, 0, 2], [-1, -1, -2, 0], [0, 0, 0, 0, 2, 1], [1, 1, -1, 2, 2, 0]], ids=str)
def test_a_circular_pad_of_several_axes_is_torchs_own(pads: list[int]) -> None:
    x = torch.randn(2, 3, *range(4, 4 + len(pads) // 2), dtype=torch.float64)

    for ours, theirs in zip(
        value_and_gradient(lambda value: pad(value, pads, "circular"), x),
        value_and_gradient(lambda value: aten.pad.default(value, pads, "circular"), x),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
@pytest.mark.parametrize("pads", [[1, 2], [-1, 2], [2, -2], [-1, -1], [0, 0]], ids=str)
def test_a_pad_of_another_mode_is_torchs_own(mode: str, pads: list[int]) -> None:
    x = torch.randn(2, 3, 5, dtype=torch.float64)

    for ours, theirs in zip(
        value_and_gradient(lambda value: pad(value, pads, mode), x),
        value_and_gradient(lambda value: functional.pad(value, pads, mode), x),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("operator", [aten.reflection_pad2d.default, aten.replication_pad2d.default, aten.constant_pad_nd.default])
def test_an_operator_that_pads_when_a_pad_is_negative_then_is_torchs_own(operator: torch._ops.OpOverload) -> None:
    x, pads = torch.randn(2, 3, 5, 6, dtype=torch.float64), [-1, 2, 1, -2]

    for ours, theirs in zip(
        value_and_gradient(lambda value: pad_by_operator(operator)(value, pads), x),
        value_and_gradient(lambda value: operator(value, pads), x),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("pads", "mode", "fault"),
    [
        ([5, -5], "circular", "longer than axis 2 with 0 values"),
        ([-5, 5], "circular", "longer than axis 2 with 0 values"),
        ([3, -3], "circular", "longer than axis 2 with 2 values"),
        ([6, 0], "circular", "longer than axis 2 with 5 values"),
        ([-6, 6], "circular", "remove more than the 5 values of axis 2"),
        ([1 << 62, -(1 << 62)], "circular", "remove more than the 5 values"),
        ([-3, -3], "constant", "remove more than the 5 values"),
        ([1, 1, 1], "circular", "3 pads are given for 3 axes"),
        ([1] * 8, "circular", "8 pads are given for 3 axes"),
        ([1, 1], "mirror", "mode 'mirror' with 2 pads"),
    ],
    ids=str,
)
def test_a_pad_whose_result_nobody_would_write_is_refused(pads: list[int], mode: str, fault: str) -> None:
    with pytest.raises(EngineError, match=fault) as caught:
        pad(torch.randn(2, 3, 5), pads, mode)

    assert caught.value.code == "program_refused"


class Circular(torch.nn.Module):
    def __init__(self, pads: list[int]) -> None:
        super().__init__()
        self.pads = pads
        self.register_buffer("kernel", torch.ones(1, 1, 1024))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.kernel, Tensor)
        return x.sum(1, keepdim=True) + aten.pad.default(self.kernel, self.pads, "circular").sum()


def test_a_program_that_pads_more_than_is_left_is_refused() -> None:
    """Seen through a running service: the result held the names of another tenant's clusters."""
    with pytest.raises(EngineError, match="circular pads 1024 and 0") as caught:
        program_of(Circular([1024, -1024]), torch.randn(2, 4))

    assert caught.value.code == "program_refused"


def test_a_convolution_with_circular_padding_keeps_its_value() -> None:
    network = torch.nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular").double()
    x = torch.randn(4, 2, 5, 5, dtype=torch.float64)

    program = program_of(network, x)

    assert "pad" not in {str(node.target).split(".")[1] for node in program.module.graph.nodes if node.op == "call_function"}
    torch.testing.assert_close(program.forward((x,), "output"), network(x).detach(), rtol=1e-12, atol=1e-12)
