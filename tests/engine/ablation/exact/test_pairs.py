"""`pairs` has the second differences of closed forms, and of a plain loop over pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.ablation.nets import Conv, Units, Weighted
from tests.engine.ablation.plain import Plain, prepared
from tests.engine.in_process import program_of, rank

ROWS = 9


def pairs(folder: Path, net: nn.Module, x: np.ndarray, k: int, layer: str = "act", **request: Any) -> tuple[np.ndarray, list[int]]:
    """The second differences of the first cluster, and its first units."""
    ablation = {"random": 0, "check_fill": None, "split": "none", "fill": "zero", "pairs": k} | request.pop("ablation", {})
    defaults = {"target": {"class": None}, "fidelity": None}
    summary, arrays = rank(
        program_of(net, torch.tensor(x[:2])), folder, {"x": x}, layer, ["activation"], ablation=ablation, **defaults | request
    )
    cluster = next(iter(summary["rankings"][0]["clusters"].values()))
    assert arrays["pairs/activation"].dtype == np.float32
    return arrays["pairs/activation"][0], [unit["unit"] for unit in cluster["top"][:k]]


def positive(units: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0.5, 1.5, (ROWS, units))


def test_pairs_when_two_units_are_multiplied_then_the_difference_is_their_mean_product(tmp_path: Path) -> None:
    x = positive(3) * [3.0, 2.0, 1.0]
    matrix, units = pairs(tmp_path, Units(lambda h: h[:, :1] * h[:, 1:2] + h[:, 2:]), x, 3)
    product = np.mean(x[:, 0] * x[:, 1])

    assert units == [0, 1, 2]
    np.testing.assert_allclose(
        matrix, [[product, product, 0], [product, product, 0], [0, 0, np.mean(x[:, 2])]], rtol=1e-6, atol=1e-6
    )


def test_pairs_when_either_unit_suffices_then_the_difference_is_negative(tmp_path: Path) -> None:
    matrix, _ = pairs(tmp_path, Units(lambda h: h[:, :2].amax(1, keepdim=True)), np.ones((ROWS, 2)), 2)

    assert matrix.tolist() == [[0.0, -1.0], [-1.0, 0.0]]


def test_pairs_when_the_tail_is_linear_then_differences_are_zero_and_the_diagonal_has_the_effects(tmp_path: Path) -> None:
    weights, x = [1.0, -2.0, 3.0, 0.5], positive(4) * [4.0, 3.0, 2.0, 1.0]
    matrix, units = pairs(tmp_path, Weighted(weights), x, 4)

    assert units == [0, 1, 2, 3]
    np.testing.assert_allclose(matrix, np.diag(x.mean(0) * weights), rtol=1e-6, atol=1e-12)


@pytest.mark.check
@pytest.mark.parametrize("units", ["neuron", "channel"])
def test_pairs_when_a_plain_loop_replaces_each_pair_then_all_numbers_agree(units: str, tmp_path: Path) -> None:
    net, x, k = Conv(), torch.tensor(np.random.default_rng(5).standard_normal((ROWS, 2, 3, 3))), 4
    request: dict[str, Any] = {"units": units, "target": {"class": 2}, "baseline": {"kind": "constant", "value": 0.3}}
    ablation = {"split": "half", "fill": "baseline"}
    matrix, chosen = pairs(tmp_path, net, x.numpy(), k, ablation=ablation, **request)
    context = prepared(program_of(net, x[:2]), tmp_path, {"x": x.numpy()}, layer="act", ablation=ablation, **request)
    tested = context.clusters[0].rows[context.halves[0].tested]
    plain = Plain(net, x, 2, units == "channel")
    fill = plain.h(torch.full_like(x[0], 0.3))

    def f(*replaced: int) -> float:
        return float(np.mean([plain.f(row, set(replaced), fill) for row in tested]))

    expected = [[f() - f(i) - f(j) + f(i, j) for j in chosen] for i in chosen]

    np.testing.assert_allclose(matrix, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.check
def test_pairs_when_a_unit_equals_its_fill_then_its_differences_are_exactly_zero(tmp_path: Path) -> None:
    x = positive(8).astype(np.float32)
    x[:, 5] = -1.0  # the ReLU gives 0, which is the fill
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(), nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    matrix, units = pairs(tmp_path, net, x, 8, layer="0")
    dead = units.index(5)

    assert matrix[dead].tolist() == matrix[:, dead].tolist() == [0.0] * 8
    assert np.count_nonzero(matrix) == 49


@pytest.mark.check
def test_pairs_when_a_cluster_has_no_test_example_then_its_differences_are_nan(tmp_path: Path) -> None:
    matrix, _ = pairs(
        tmp_path, Weighted([1.0, 2.0]), positive(2), 2,
        clusters={"by": "members", "members": {"one": [0], "more": [1, 2, 3]}}, ablation={"split": "half"},
    )  # fmt: skip

    assert np.isnan(matrix).all()
