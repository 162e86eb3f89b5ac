"""Each kind of baseline equals plain numpy.

In these tests F is the sum of the inputs, so (x − x′) · ∂F/∂x is x − x′.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.ablation import plain
from tests.engine.in_process import program_of, rank
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.program import Program

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(9, 3)) + 2
X0 = RANDOM.normal(size=(9, 3))
MEMBERS = {"a": [0, 1, 2, 5], "b": [5, 2, 7], "c": [8]}
PREPROCESS = {"scale": 2.0, "mean": [1.0, 0.0, -1.0], "std": 4.0}
Rows = np.ndarray


class Sum(nn.Module):
    """F of class 0 is the sum of all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Linear(3, 1)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        total = x.sum(1, keepdim=True) if other is None else x.sum(1, keepdim=True) + other.sum(1, keepdim=True)
        return torch.cat([total, self.zero(x)], 1)


@pytest.fixture(scope="module")
def total() -> Program:
    return program_of(Sum(), torch.randn(2, 3))


@pytest.fixture(scope="module")
def both() -> Program:
    return program_of(Sum(), torch.randn(2, 3), torch.randn(2, 4))


def prepared(x: np.ndarray) -> np.ndarray:
    return (x * 2.0 - [1.0, 0.0, -1.0]) / 4.0


JOB_ROWS = sorted({row for rows in MEMBERS.values() for row in rows})
BASELINES: list[tuple[dict[str, Any], Callable[[Rows], np.ndarray]]] = [
    ({"kind": "zeros"}, lambda rows: np.zeros(3)),
    ({"kind": "constant", "value": -1.5}, lambda rows: np.full(3, -1.5)),
    ({"kind": "mean"}, lambda rows: prepared(X)[JOB_ROWS].mean(0)),
    ({"kind": "cluster_mean"}, lambda rows: prepared(X)[rows].mean(0)),
    ({"kind": "field", "field": "x0"}, lambda rows: prepared(X0)[rows]),
    ({"kind": "example", "index": 3}, lambda rows: prepared(X)[3]),
]


@pytest.mark.parametrize(("baseline", "plain"), BASELINES, ids=[str(each[0]["kind"]) for each in BASELINES])
@pytest.mark.parametrize("rows_at_once", [2, 64])
def test_baseline_of_each_member_of_overlapping_clusters_equals_plain_numpy(
    baseline: dict[str, Any],
    plain: Callable[[Rows], np.ndarray],
    rows_at_once: int,
    total: Program,
    tmp_path: Path,
    limit_rows: Callable[[int], None],
) -> None:
    limit_rows(rows_at_once)

    summary, arrays = rank(
        total, tmp_path, {"x": X, "x0": X0}, "input", ["gradient_x_delta", "conductance"],
        clusters={"by": "members", "members": MEMBERS}, preprocess=PREPROCESS, baseline=baseline,
        target={"class": 0}, ablation=None, fidelity=None, keep_examples=9,
    )  # fmt: skip

    for index, (name, members) in enumerate(MEMBERS.items()):
        rows = np.array(sorted(members))
        expected = prepared(X)[rows] - plain(rows)
        for ranking, method in zip(summary["rankings"], ("gradient_x_delta", "conductance"), strict=True):
            np.testing.assert_array_equal(arrays[f"rows/{name}"], rows)
            np.testing.assert_allclose(arrays[f"examples/{method}/{name}"], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(arrays[f"importance/{method}"][index], expected.mean(0), rtol=1e-5, atol=1e-6)
            completeness = ranking["clusters"][name]["completeness"]
            assert completeness["expected"] == pytest.approx(expected.sum(1).mean(), rel=1e-5, abs=1e-6)


def test_ablation_replaces_units_by_the_baseline_of_the_members_cluster(total: Program, tmp_path: Path) -> None:
    summary, _ = rank(
        total, tmp_path, {"x": X}, "input", ["conductance"],
        clusters={"by": "members", "members": MEMBERS}, baseline={"kind": "cluster_mean"}, target={"class": 0},
        ablation={"split": "none", "fractions": [0.3], "random": 19, "check_fill": None}, fidelity={"fraction": 0.3},
    )  # fmt: skip

    for name, members in MEMBERS.items():
        study = summary["rankings"][0]["clusters"][name]["ablation"]
        delta = X[members] - X[members].mean(0)
        most = delta.mean(0).argmax()
        if len(members) > 1:
            assert study["most"]["score"][0] == pytest.approx((X[members].sum(1) - delta[:, most]).mean(), rel=1e-5)
    assert summary["rankings"][0]["fidelity"]["mae"] == pytest.approx(0, abs=1e-5)


def test_mean_of_several_inputs_is_computed_for_each_input(both: Program, tmp_path: Path) -> None:
    other = RANDOM.normal(size=(9, 4))

    _, arrays = rank(
        both, tmp_path, {"x": X, "other": other}, "input:other", ["gradient_x_delta"], baseline={"kind": "mean"},
        target={"class": 0}, ablation=None, fidelity=None, keep_examples=9,
    )  # fmt: skip

    np.testing.assert_allclose(arrays["examples/gradient_x_delta/all"], other - other.mean(0), rtol=1e-5, atol=1e-6)


def test_a_field_as_baseline_of_several_real_inputs_is_refused(both: Program, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="it would replace 2 real-valued or looked-up inputs, expected one") as caught:
        rank(
            both,
            tmp_path,
            {"x": X, "other": np.zeros((9, 4))},
            "input:x",
            ["conductance"],
            baseline={"kind": "field", "field": "x"},
        )

    assert caught.value.code == "baseline_not_applicable"


def test_a_mean_over_many_rows_is_summed_in_float64(total: Program, tmp_path: Path) -> None:
    x = np.full((4000, 3), 1 / 3, dtype=np.float32)
    x[0] = 30_000_000.0

    _, arrays = rank(
        total, tmp_path, {"x": x}, "input", ["gradient_x_delta"], baseline={"kind": "mean"}, target={"class": 0},
        ablation=None, fidelity=None, keep_examples=2,
    )  # fmt: skip

    expected = x[1].astype(np.float64) - x.astype(np.float64).mean(0)
    np.testing.assert_allclose(arrays["examples/gradient_x_delta/all"][1], expected, rtol=2e-7)


def test_cluster_mean_when_the_next_cluster_begins_then_the_last_mean_is_freed(total: Program, tmp_path: Path) -> None:
    request = {"layer": "input", "clusters": {"by": "members", "members": MEMBERS}, "baseline": {"kind": "cluster_mean"}}
    context = plain.prepared(total, tmp_path, {"x": X}, **request)
    baselines = find_baselines(context, 4)

    def mean(cluster: int) -> Tensor:
        rows = context.clusters[cluster].rows
        return baselines.each[0](rows, cluster, context.examples.inputs(rows))[0]

    first = ref(mean(0))
    assert first() is not None

    mean(1)

    assert first() is None
