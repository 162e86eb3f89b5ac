"""DeepLIFT is complete for every operation, and does not depend on the batch's other examples."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.engine.methods.deeplift.running import scores


class Of(nn.Module):
    """Linear, a function, Linear."""

    def __init__(self, function: Callable[[Tensor], Tensor], width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.function = nn.Linear(5, width), nn.LazyLinear(3), function
        self.last(function(self.first(torch.zeros(2, 5))))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.function(self.first(x)))
        return out


RULED = {
    "relu": torch.relu,
    "relu in place": lambda z: z.clone().relu_(),
    "gelu": functional.gelu,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "leaky relu": functional.leaky_relu,
    "exp": torch.exp,
    "square": torch.square,
    "power": lambda z: z**3,
    "reciprocal": lambda z: 1 / (3 + torch.sigmoid(z)),
    "gate": lambda z: z[:, :3] * torch.sigmoid(z[:, 3:]),
    "product": lambda z: (z.reshape(-1, 2, 3) @ z.reshape(-1, 3, 2)).flatten(1),
    "maximum": lambda z: torch.maximum(z[:, :3], z[:, 3:]),
    "minimum": lambda z: torch.minimum(z[:, :3], z[:, 3:]),
    "max pool": lambda z: functional.max_pool2d(z.reshape(-1, 1, 2, 3), (1, 2), stride=1, padding=(0, 1)).flatten(1),
    "max pool with a ceiling": lambda z: functional.max_pool2d(z.reshape(-1, 1, 2, 3), 2, ceil_mode=True).flatten(1),
}
UNRULED = {
    "softmax": lambda z: torch.softmax(z, 1),
    "layer norm": lambda z: functional.layer_norm(z, (6,)),
    "logsumexp": lambda z: torch.logsumexp(z, 1, keepdim=True),
    "quotient": lambda z: z[:, :3] / (1 + z[:, 3:].square()),
    "norm": lambda z: functional.normalize(z, dim=1),
    "cumulative product": lambda z: torch.cumprod(1 + z.tanh() / 2, 1),
    "arc tangent of two": lambda z: torch.atan2(z[:, :3], 2 + z[:, 3:].sigmoid()),
    "attention": lambda z: functional.scaled_dot_product_attention(*(z.reshape(-1, 3, 2) * k for k in (1, 2, 3))).flatten(1),
}


@cache
def net_of(name: str, dtype: torch.dtype) -> Of:
    """The net with this function, always with the same weights."""
    return Of((RULED | UNRULED)[name]).to(dtype)


@pytest.mark.parametrize("dtype", [pytest.param(torch.float32, marks=pytest.mark.check), torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", [*RULED, *UNRULED])
def test_scores_when_summed_then_are_the_change_of_the_output(name: str, dtype: torch.dtype) -> None:
    net = net_of(name, dtype)
    torch.manual_seed(1)
    x, start = torch.randn(8, 5, dtype=dtype), torch.randn(8, 5, dtype=dtype)

    got, change, notes = scores(net, x, start, rules="rescale")

    gap = (got.sum(1) - change).abs().sum() / change.abs().sum()
    assert gap <= (1e-5 if dtype == torch.float32 else 1e-11)
    assert ("quadrature" in notes.options()) == (name in UNRULED)
    assert "derivative" not in notes.options()
    assert not notes.warnings


@pytest.mark.parametrize("name", [*RULED, *UNRULED])
def test_scores_when_an_example_is_alone_then_equal_its_scores_in_a_batch(name: str) -> None:
    torch.manual_seed(1)
    x, start = 3 * torch.randn(4, 5), torch.zeros(4, 5)
    x[2:] *= 20

    net = net_of(name, torch.float32)

    together, _, _ = scores(net, x, start)

    alone = torch.cat([scores(net, x[row : row + 1], start[row : row + 1])[0] for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_scores_when_places_are_chosen_by_comparing_then_the_derivative_is_named() -> None:
    net = Of(lambda z: z.gather(1, z.argmax(1, keepdim=True)))

    _, _, notes = scores(net, torch.randn(8, 5), torch.randn(8, 5))

    assert notes.options() == {"derivative": ["aten::gather"]}


def test_scores_when_a_normalisation_has_nothing_to_normalise_at_the_baseline_then_warns_and_stays_finite() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6, bias=False), nn.LayerNorm(6, eps=1e-30, elementwise_affine=False), nn.Linear(6, 2))

    got, _, notes = scores(net, torch.randn(4, 5), torch.zeros(4, 5))

    assert torch.isfinite(got).all()
    (code, detail), *_ = notes.warnings
    assert code == "degenerate_reference"
    assert "layer_norm in layer '1'" in detail


def test_scores_when_a_relu_follows_a_comparison_then_has_the_slope_of_the_whole_step() -> None:
    class Gated(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = x.sum(1, keepdim=True)
            return torch.relu((z > 0).to(x.dtype) * 2) + 0 * z

    # In the first example the sum rises over the step; in the second it is equal at both ends.
    got, change, _ = scores(Gated(), torch.tensor([[1.0, 3.0], [2.0, 1.0]]), torch.tensor([[-5.0, 3.0], [1.0, 2.0]]))

    torch.testing.assert_close(got, torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(got.sum(1), change)
