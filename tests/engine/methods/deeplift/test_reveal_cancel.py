"""RevealCancel equals its formulas, written plainly in float64 for one unit at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.methods.deeplift.running import scores

Array = np.ndarray
Function = Callable[[float], float]


def relu(z: float) -> float:
    return max(z, 0.0)


def relu_slope(z: float) -> float:
    return 1.0 if z > 0 else 0.0


def contributions(weights: Array, change: Array) -> tuple[Array, Array]:
    """p and n of each unit of z = weights · x + bias; a change of zero counts half in each."""
    p, n = np.zeros(len(weights)), np.zeros(len(weights))
    for unit, row in enumerate(weights):
        for weight, delta in zip(row, change, strict=True):
            p[unit] += max(weight * delta, 0.0)
            n[unit] += min(weight * delta, 0.0)
    return p, n


def multipliers(r: float, p: float, n: float) -> tuple[float, float]:
    """y⁺/p and y⁻/n of a ReLU."""
    y_p = 0.5 * (relu(r + p) - relu(r)) + 0.5 * (relu(r + n + p) - relu(r + n))
    y_n = 0.5 * (relu(r + n) - relu(r)) + 0.5 * (relu(r + p + n) - relu(r + p))
    m_p = y_p / p if p else 0.5 * (relu_slope(r) + relu_slope(r + n))
    m_n = y_n / n if n else 0.5 * (relu_slope(r) + relu_slope(r + p))
    return m_p, m_n


def back(weights: Array, change: Array, m_p: Array, m_n: Array) -> Array:
    """Multipliers of the inputs.

    W⁺m⁺ + W⁻m⁻ for Δ > 0, W⁺m⁻ + W⁻m⁺ for Δ < 0, and half of each for Δ = 0.
    """
    result = np.zeros(len(change))
    for index, delta in enumerate(change):
        rising = sum(max(row[index], 0) * a + min(row[index], 0) * b for row, a, b in zip(weights, m_p, m_n, strict=True))
        falling = sum(max(row[index], 0) * b + min(row[index], 0) * a for row, a, b in zip(weights, m_p, m_n, strict=True))
        result[index] = rising if delta > 0 else falling if delta < 0 else (rising + falling) / 2
    return result


def plain(layers: list[tuple[Array, Array]], x: Array, start: Array) -> Array:
    """Multipliers of the inputs of Linear, ReLU, Linear, ReLU, …, Linear for the first output."""
    values, starts = [x], [start]
    for weights, bias in layers[:-1]:
        values.append(np.maximum(weights @ values[-1] + bias, 0))
        starts.append(np.maximum(weights @ starts[-1] + bias, 0))
    multiplier = layers[-1][0][0]
    for depth in reversed(range(len(layers) - 1)):
        weights, bias = layers[depth]
        change, r = values[depth] - starts[depth], weights @ starts[depth] + bias
        p, n = contributions(weights, change)
        pairs = [multipliers(*each) for each in zip(r, p, n, strict=True)]
        m_p, m_n = (np.array(each) * multiplier for each in zip(*pairs, strict=True))
        multiplier = back(weights, change, m_p, m_n)
    return multiplier


def as_matrix(conv: nn.Module, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """A convolution as a dense layer of the flattened image."""
    size = int(np.prod(shape))
    with torch.no_grad():
        zero = conv(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        units = torch.stack([conv(unit.reshape(1, *shape)).flatten() - zero for unit in torch.eye(size, dtype=torch.float64)], 1)
    return units.numpy(), zero.numpy()


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("rules", ["reveal_cancel", "default"])
def test_multipliers_when_dense_layers_are_stacked_then_equal_the_plain_formulas(depth: int, rules: str) -> None:
    torch.manual_seed(depth)
    linears = [nn.Linear(a, b, dtype=torch.float64) for a, b in zip([5, 7, 6, 4][:depth], [7, 6, 4, 3][:depth], strict=True)]
    net = nn.Sequential()
    for index, linear in enumerate(linears):
        net.append(linear)
        if index < depth - 1:
            net.append(nn.ReLU())
    x, start = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    x[:, 2] = start[:, 2]

    got, change, notes = scores(net, x, start, rules=rules)

    layers = [(linear.weight.detach().numpy(), linear.bias.detach().numpy()) for linear in linears]
    want = np.stack([plain(layers, a, b) * (a - b) for a, b in zip(x.numpy(), start.numpy(), strict=True)])
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=1e-8)
    np.testing.assert_allclose(got.sum(1).numpy(), change.numpy(), rtol=0, atol=1e-10)
    assert notes.options() == {}


def test_multipliers_when_convolutions_are_stacked_then_equal_the_plain_formulas() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 4, 2)
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).double()
    x, start = torch.randn(3, 2, 6, 6, dtype=torch.float64), torch.randn(3, 2, 6, 6, dtype=torch.float64)

    got, _, _ = scores(net, x, start, rules="reveal_cancel")

    last = net[5]
    assert isinstance(last, nn.Linear)
    layers = [as_matrix(first, (2, 6, 6)), as_matrix(second, (3, 3, 3)), (last.weight.detach().numpy(), last.bias.detach().numpy())]
    pairs = zip(x.flatten(1).numpy(), start.flatten(1).numpy(), strict=True)
    want = np.stack([plain(layers, a, b) * (a - b) for a, b in pairs])
    np.testing.assert_allclose(got.flatten(1).numpy(), want, rtol=0, atol=1e-8)


def test_multipliers_when_a_batch_norm_is_between_then_equal_those_of_the_fused_layer() -> None:
    torch.manual_seed(0)
    linear, norm, last = nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 2)
    norm.running_mean, norm.running_var = torch.randn(7), torch.rand(7) + 0.5
    nn.init.normal_(norm.weight)
    net = nn.Sequential(linear, norm, nn.Dropout(), nn.ReLU(), last).double().eval()
    folded = nn.Linear(5, 7, dtype=torch.float64)
    with torch.no_grad():
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        folded.weight.copy_(linear.weight * scale[:, None])
        folded.bias.copy_((linear.bias - norm.running_mean) * scale + norm.bias)
    x, start = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)

    got, _, _ = scores(net, x, start, rules="default")

    want, _, _ = scores(nn.Sequential(folded, nn.ReLU(), last), x, start, rules="default")
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


class Minimum(nn.Module):
    """min(x₁, x₂) = x₁ − relu(x₁ − x₂), the example of arXiv:1704.02685, section 3.4."""

    def __init__(self) -> None:
        super().__init__()
        self.difference, self.relu, self.sum = nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.difference.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0]]))
            self.sum.weight.copy_(torch.tensor([[1.0, -1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.sum(self.relu(self.difference(x)))
        return out


@pytest.mark.parametrize(("rules", "want"), [("reveal_cancel", [0.5, 0.5]), ("default", [0.5, 0.5]), ("rescale", [0.0, 1.0])])
def test_minimum_when_one_input_decides_then_both_share_by_reveal_cancel_alone(rules: str, want: list[float]) -> None:
    x = torch.tensor([[3.0, 1.0], [3.0, 1.0]], dtype=torch.float64)

    got, _, _ = scores(Minimum().double(), x, torch.zeros_like(x), rules=rules)

    assert got[0].tolist() == pytest.approx(want)
