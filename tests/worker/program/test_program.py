"""A whole program: its inputs, its outputs, and what runs through it."""

import torch
from torch import Tensor, nn

from tests.worker.engine import program_of


class Besides(nn.Module):
    """Returns nothing, its logits, and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[None, Tensor, int, Tensor]:
        return None, self.fc(x), 7, x


def test_forward_when_the_model_returns_more_than_tensors_then_the_named_output_comes() -> None:
    net = Besides()
    program = program_of(net, torch.randn(2, 3))
    x = torch.randn(5, 3)

    assert list(program.outputs) == ["output.1", "output.3"]
    torch.testing.assert_close(program.forward((x,), "output.1"), net.fc(x).detach())
    torch.testing.assert_close(program.forward((x,), "output.3"), x)
