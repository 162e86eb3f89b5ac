"""The number of scores decides which units they belong to: neurons, channels, heads, positions."""

import pytest
import torch
from torch import Tensor, nn

import unitrank
from unitrank.errors import NotPossible

HEADS, POSITIONS, WIDTH = 4, 5, 8


class Attention(nn.Module):
    """One attention layer over five positions."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [part(x).view(-1, POSITIONS, HEADS, WIDTH // HEADS).transpose(1, 2) for part in (self.query, self.key, self.value)]
        mixed = nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(-1, POSITIONS, WIDTH)
        return self.last(torch.tanh(self.out(mixed)).mean(1))


def gradients(network: Attention, x: Tensor) -> Tensor:
    """The mean gradient of logit 0 at the input of `out` [positions, width]."""
    seen: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
        inputs[0].retain_grad()
        seen.append(inputs[0])

    handle = network.out.register_forward_pre_hook(hook)
    network(x)[:, 0].sum().backward()
    handle.remove()
    assert seen[0].grad is not None
    return seen[0].grad.mean(0)


@pytest.fixture(scope="module")
def network() -> Attention:
    torch.manual_seed(0)
    return Attention().eval()


@pytest.mark.parametrize("kind", ["neuron", "head", "position"])
def test_check_when_scores_are_as_many_as_these_units_then_they_are_compared_with_them(network: Attention, kind: str) -> None:
    x = torch.randn(12, POSITIONS, WIDTH, generator=torch.Generator().manual_seed(1))
    single = gradients(network, x)
    scores = {"neuron": single, "head": single.unflatten(1, (HEADS, -1)).sum((0, 2)), "position": single.sum(1)}[kind]

    check = unitrank.check_scores(network, {"x": x}, "out", scores, at="input", target={"class": 0})

    assert (check.relation, check.method, check.is_correct) == ("equal", "gradient", True)


def test_check_when_no_units_are_as_many_then_the_error_counts_them(network: Attention) -> None:
    with pytest.raises(NotPossible, match="the input of layer 'out' has 40 neurons or 8 channels or 4 heads or 5 positions;"):
        unitrank.check_scores(network, {"x": torch.randn(12, POSITIONS, WIDTH)}, "out", torch.zeros(7), at="input")
