"""Specificity and comparisons of whole jobs, on nets whose units' shares are known."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.ablation.nets import Dense, Weighted
from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program

MEMBERS = {name: list(range(5 * number, 5 * number + 5)) for number, name in enumerate("abcd")}
ABLATION: dict[str, Any] = {"split": "none", "check_fill": None, "random": 19, "fractions": [0.25, 0.5, 0.75]}


@cache
def dense() -> Program:
    return program_of(Dense(), torch.ones(2, 5, dtype=torch.float64))


def nonlinear(folder: Path, methods: list[Any]) -> dict[str, Any]:
    x = np.random.default_rng(3).standard_normal((20, 5))
    summary, _ = rank(
        dense(), folder, {"x": x}, "act", methods,
        clusters={"by": "members", "members": MEMBERS}, target={"class": 1}, fidelity=None, ablation=ABLATION,
    )  # fmt: skip
    return summary


def blocks(folder: Path, fraction: float) -> dict[str, Any]:
    """The specificity on a net whose four classes read ten units each; a cluster has one class."""
    weights = np.kron(np.eye(4), np.ones(10))
    x = np.random.default_rng(0).uniform(0.5, 1.5, (40, 40))
    summary, _ = rank(
        program_of(Weighted(*weights.tolist()), torch.ones(2, 40, dtype=torch.float64)), folder,
        {"x": x, "y": np.arange(40) % 4}, "act", ["gradient_x_activation"], clusters={"by": "label"}, target={"class": "label"},
        fidelity=None, ablation=ABLATION | {"fractions": [fraction]},
    )  # fmt: skip
    specificity: dict[str, Any] = summary["rankings"][0]["specificity"]
    return specificity


def test_specificity_when_all_clusters_have_one_order_then_it_is_0(tmp_path: Path) -> None:
    one = {"name": "given", "importance": [4.0, 1.0, 3.0, 2.0], "made_on": "none"}
    specificity = nonlinear(tmp_path, [one])["rankings"][0]["specificity"]

    # Each column has the same area in all rows.
    areas = np.array(specificity["matrix"], dtype=float)
    usable = ~np.isnan(areas).all(0)
    assert usable.sum() >= 2
    assert (areas[usable][:, usable] == areas[usable][:1, usable]).all()
    assert set(specificity["selectivity"].values()) == {0.0}


def test_specificity_when_each_class_reads_a_block_then_it_is_1_and_0_at_the_blocks_share(tmp_path: Path) -> None:
    at_block, above = blocks(tmp_path, 0.25), blocks(tmp_path, 0.625)

    np.testing.assert_allclose(at_block["matrix"], np.eye(4), atol=1e-12)
    assert list(at_block["selectivity"].values()) == pytest.approx([1.0] * 4)
    # The one assignment of 24 with this trace is the true one.
    assert at_block["overall_p_value"] == pytest.approx(1 / 24)
    # The own block and 15 of the 30 other units, in random order, are replaced.
    np.testing.assert_allclose(np.diag(np.array(above["matrix"])), np.ones(4), atol=1e-12)
    assert all(0.0 < value < 1.0 for value in above["selectivity"].values())


def test_comparison_when_a_ranking_is_compared_with_itself_then_it_is_0_and_exchanged_it_is_negated(tmp_path: Path) -> None:
    a: dict[str, Any] = {"name": "gradient_x_activation", "id": "a"}
    b = {"name": "given", "id": "b", "importance": [1.0, 4.0, 2.0, 3.0], "made_on": "none"}
    (same,) = nonlinear(tmp_path, [a, a | {"id": "again"}])["comparisons"]
    (forth,) = nonlinear(tmp_path, [a, b])["comparisons"]
    (back,) = nonlinear(tmp_path, [b, a])["comparisons"]

    values = ("difference", "low", "high", "keep_difference", "keep_low", "keep_high")
    assert [same[name] for name in values] == [0.0] * 6
    assert (same["ahead"], same["keep_ahead"]) == (None, None)
    assert forth["difference"] != 0
    for prefix in ("", "keep_"):
        assert back[f"{prefix}difference"] == -forth[f"{prefix}difference"]
        assert back[f"{prefix}low"] == pytest.approx(-forth[f"{prefix}high"])
        assert {forth[f"{prefix}ahead"], back[f"{prefix}ahead"]} in ({None}, {"a", "b"})
