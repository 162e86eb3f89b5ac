"""The inputs and outputs of a program, and its forward pass."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of


class Besides(nn.Module):
    """Returns None, its logits, a number and its input."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[None, Tensor, int, Tensor]:
        return None, self.fc(x), 7, x


def test_forward_when_the_model_returns_more_than_tensors_then_gives_the_named_output() -> None:
    net = Besides()
    program = program_of(net, torch.randn(2, 3))
    x = torch.randn(5, 3)

    assert list(program.outputs) == ["output.1", "output.3"]
    torch.testing.assert_close(program.forward((x,), "output.1"), net.fc(x).detach())
    torch.testing.assert_close(program.forward((x,), "output.3"), x)


class Returning(nn.Module):
    """Returns its two tensors in a container of a given shape."""

    def __init__(self, shape: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.shape = nn.Linear(3, 2), shape

    def forward(self, x: Tensor) -> Any:
        h = self.linear(x)
        return self.shape(h, h.relu())


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        (lambda a, b: a, ["output"]),
        (lambda a, b: (a,), ["output"]),
        (lambda a, b: (a, None), ["output"]),
        (lambda a, b: {"logits": a}, ["logits"]),
        (lambda a, b: (a, b), ["output.0", "output.1"]),
        (lambda a, b: {"logits": a, "hidden": b}, ["logits", "hidden"]),
        (lambda a, b: {"logits": a, "hidden": (a, b)}, ["logits", "hidden.0", "hidden.1"]),
        (lambda a, b: (a, {"more": b}), ["output.0", "output.1.more"]),
        (lambda a, b: {"a": (a,), "a.0": b}, ["output.0", "output.1"]),
    ],
)
def test_outputs_are_named_by_where_they_stand(shape: Callable[[Tensor, Tensor], Any], names: list[str]) -> None:
    model = program_of(Returning(shape), torch.randn(2, 3))

    assert list(model.outputs) == names
