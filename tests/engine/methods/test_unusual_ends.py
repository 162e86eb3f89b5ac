"""Exact methods before linear operations with a factor, and before values without gradients."""

from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank

UNITS = 6
X = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
SETTINGS: dict[str, Any] = {"fidelity": None, "ablation": None, "target": {"class": 1}, "clusters": {"by": "all"}}


class End(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.end = nn.Linear(5, UNITS), nn.Linear(4, 3)
        self.weight, self.bias = (nn.Parameter(torch.randn(*shape)) for shape in ((UNITS, 4), (4,)))

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.first(x))

    def behind(self, h: Tensor) -> Tensor:
        raise NotImplementedError


class Scaled(End):
    def behind(self, h: Tensor) -> Tensor:
        out: Tensor = self.end(torch.tanh(torch.addmm(self.bias, h, self.weight, alpha=2, beta=3)))
        return out


class Detached(End):
    def behind(self, h: Tensor) -> Tensor:
        value = torch.tanh(h @ self.weight)
        out: Tensor = self.end(value + value.detach())
        return out


def drop(net: End, h: Tensor, units: tuple[int, ...]) -> float:
    """The mean drop of the target while these units are 0."""
    changed = h.clone()
    changed[:, list(units)] = 0
    return float((net.behind(h) - net.behind(changed))[:, 1].double().mean())


@pytest.mark.parametrize("kind", [Scaled, Detached])
def test_exact_methods_equal_the_drops_of_the_module(kind: type[End], tmp_path: Path) -> None:
    net = kind().eval().requires_grad_(False)
    h = net.first(X)
    single = [drop(net, h, (unit,)) for unit in range(UNITS)]
    values = [
        sum(
            factorial(size)
            * factorial(UNITS - 1 - size)
            / factorial(UNITS)
            * (drop(net, h, (*others, unit)) - drop(net, h, others))
            for size in range(UNITS)
            for others in combinations([each for each in range(UNITS) if each != unit], size)
        )
        for unit in range(UNITS)
    ]
    methods = [{"name": "exact_ablation", "fill": "zero"}, {"name": "shapley", "fill": "zero"}]

    _, arrays = rank(program_of(net, X[:2]), tmp_path, {"x": X.numpy()}, "first", methods, **SETTINGS)

    np.testing.assert_allclose(arrays["importance/exact_ablation"][0], single, atol=1e-6)
    np.testing.assert_allclose(arrays["importance/shapley"][0], values, atol=1e-6)


def test_weight_norm_counts_the_factor_of_a_product(tmp_path: Path) -> None:
    net = Scaled().eval().requires_grad_(False)

    _, arrays = rank(program_of(net, X[:2]), tmp_path, {"x": X.numpy()}, "first", ["weight_norm"], **SETTINGS)

    expected = net.first(X).abs().mean(0) * 2 * net.weight.norm(dim=1)
    np.testing.assert_allclose(arrays["importance/weight_norm"][0], expected.numpy(), rtol=1e-5)
