"""Jobs on very many rows hold a column instead of lists, and their results are equal to the bit."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from tests.engine.ablation.plain import prepared
from tests.engine.in_process import program_of, rank
from unitrank_engine.attribution import bootstrap, fidelity, projections
from unitrank_engine.job.clusters import finders, holdout, slot_column
from unitrank_engine.job.clusters.membership import membership_of
from unitrank_engine.program import Program
from unitrank_engine.result import arrays as result_arrays
from unitrank_engine.result import warnings as result_warnings

ROWS = 200
RANDOM = np.random.default_rng(0)
FIELDS = {
    "x": RANDOM.standard_normal((ROWS, 4)).astype(np.float32),
    "y": RANDOM.integers(0, 3, ROWS),
    "name": np.array(["cat", "dog", "a longer name"])[RANDOM.integers(0, 3, ROWS)],
    "group": RANDOM.integers(0, 40, ROWS),
    "made": RANDOM.random(ROWS) < 0.3,
    "mine": RANDOM.standard_normal((ROWS, 6)),
}
ABLATION = {"random": 5, "fractions": [0.2, 0.5]}
METHODS = ["gradient", {"name": "conductance", "steps": 3}]
FIDELITY = {"fidelity": {"fraction": 0.3}}


@pytest.fixture(scope="module")
def net() -> Program:
    torch.manual_seed(0)
    return program_of(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), torch.randn(2, 4))


@pytest.fixture
def column(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def use() -> None:
        monkeypatch.setattr(finders, "MOST_HELD", 0)
        monkeypatch.setattr(slot_column, "BLOCK", 16)
        monkeypatch.setattr(slot_column, "ROWS_PER_COUNT", 1)

    return use


def result(net: Program, folder: Path, **request: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    options = {"methods": METHODS, "ablation": ABLATION} | request
    summary, arrays = rank(net, folder, FIELDS, "1", options.pop("methods"), **options)
    for ranking in summary["rankings"]:
        del ranking["seconds"]
    del summary["cost"]
    return summary, arrays


@pytest.mark.check
@pytest.mark.parametrize(
    "request_",
    [
        {"clusters": {"by": "all"}, **FIDELITY},
        {"clusters": {"by": "label"}, "keep_examples": 2},
        {"clusters": {"by": "field", "field": "name"}, "baseline": {"kind": "mean"}, "ablation": {**ABLATION, "fill": "resample"}},
        {"clusters": {"by": "prediction"}, "ablation": {**ABLATION, "split": "group"}},
        {"clusters": {"by": "kmeans", "k": 3, "layer": "1"}, "baseline": {"kind": "cluster_mean"}, "keep_examples": 2, **FIDELITY},
        {"clusters": {"by": "label", "limit": 20}, "keep_examples": 2, **FIDELITY},
        {
            "clusters": {"by": "label", "limit": 30},
            "baseline": {"kind": "cluster_mean"},
            "ablation": {**ABLATION, "split": "group"},
        },
        {"clusters": {"by": "label"}, "ablation": {**ABLATION, "split": "none"}},
        {"clusters": {"by": "label"}, "methods": ["gradient", {"name": "given", "field": "mine", "made_on": "made"}]},
        {"clusters": {"by": "label"}, "methods": ["gradient"], "target": {"class": "each"}},
    ],
    ids=["all", "label", "field", "prediction", "kmeans", "limit", "limit and groups", "in sample", "given", "each"],
)
def test_job_when_a_column_has_the_clusters_then_its_result_has_the_bits_of_one_with_lists(
    net: Program, tmp_path: Path, column: Callable[[], None], request_: dict[str, Any]
) -> None:
    expected = result(net, tmp_path, **request_)
    column()
    summary, arrays = result(net, tmp_path, **request_)

    assert summary == expected[0]
    assert {name: each.tobytes() for name, each in arrays.items()} == {name: each.tobytes() for name, each in expected[1].items()}


@pytest.mark.check
@pytest.mark.parametrize("is_column", [False, True])
def test_job_when_a_hash_divides_its_rows_then_all_rows_rank_and_test(
    net: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: Callable[[], None], is_column: bool
) -> None:
    for module in (bootstrap, holdout):
        monkeypatch.setattr(module, "MOST_PERMUTED", 10)
    if is_column:
        column()
    summary, arrays = result(net, tmp_path, methods=["gradient"], clusters={"by": "label"}, ablation={**ABLATION, "examples": 20})

    sizes = np.bincount(FIELDS["y"])
    for cluster, size in zip(summary["clusters"], sizes, strict=True):
        assert abs(cluster["ranked_on"] - size / 2) < 4 * np.sqrt(size) / 2
        assert cluster["tested_on"] == 20
    top = summary["rankings"][0]["clusters"]["0"]["top"]
    assert all(0 <= unit["in_top"] <= 1 for unit in top[:3])
    assert arrays["importance/gradient"].shape == (3, 6)


@pytest.mark.check
def test_fidelity_when_examples_are_many_then_order_statistics_are_of_a_sample_and_means_of_all(
    net: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request: dict[str, Any] = {"clusters": {"by": "label"}, "ablation": None, **FIDELITY}
    whole, _ = result(net, tmp_path, **request)
    judged: dict[str, Any] = {}
    judge = fidelity.judge

    def noting(drops: Any, compare: bool) -> Any:
        judged.update(drops)
        return judge(drops, compare)

    monkeypatch.setattr("unitrank_engine.stages.target.judge", noting)
    for module in (fidelity, result_warnings):
        monkeypatch.setattr(module, "MOST_DROPS", 100)
    sampled, _ = result(net, tmp_path, **request)

    assert "fidelity_of_a_sample" not in {each["code"] for each in whole["warnings"]}
    assert "fidelity_of_a_sample" in {each["code"] for each in sampled["warnings"]}
    for of_all, of_sample in zip(whole["rankings"], sampled["rankings"], strict=True):
        drops = judged[of_sample["id"]]
        assert 60 < len(drops.predicted) < 140
        for name in ("mae", "mae_of_zero", "bias"):
            assert of_sample["fidelity"][name] == pytest.approx(of_all["fidelity"][name], rel=1e-12)
        assert of_sample["fidelity"]["spearman"] == pytest.approx(stats.spearmanr(drops.predicted, drops.actual).statistic)


@pytest.mark.check
def test_rows_when_examples_are_many_then_only_the_first_of_each_cluster_are_listed(
    net: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (result_arrays, result_warnings):
        monkeypatch.setattr(module, "MOST_LISTED", ROWS - 1)
    monkeypatch.setattr(result_arrays, "FIRST_LISTED", 4)
    summary, arrays = result(net, tmp_path, methods=["gradient"], clusters={"by": "label"}, ablation=None, keep_examples=6)

    (warning,) = [each for each in summary["warnings"] if each["code"] == "rows_not_listed"]
    assert "only the first 6 rows" in warning["detail"]
    for cluster in range(3):
        assert arrays[f"rows/{cluster}"].tolist() == np.flatnonzero(FIELDS["y"] == cluster)[:6].tolist()


@pytest.mark.check
@pytest.mark.parametrize("grouped", [False, True])
def test_given_scores_when_examples_are_many_then_the_first_ones_are_still_found(
    net: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: Callable[[], None], grouped: bool
) -> None:
    baseline = {"kind": "cluster_mean"} if grouped else {"kind": "zeros"}
    request: dict[str, Any] = {"clusters": {"by": "label"}, "ablation": None, "baseline": baseline, "labels": "y"}
    _, arrays = result(net, tmp_path, methods=["gradient_x_delta"], keep_examples=200, **request)
    first = [arrays[f"rows/{cluster}"] < 50 for cluster in range(3)]
    kept = (arrays[f"examples/gradient_x_delta/{cluster}"][chosen] for cluster, chosen in enumerate(first))
    importance = {str(cluster): scores.mean(0).tolist() for cluster, scores in enumerate(kept)}
    monkeypatch.setattr(projections, "MOST_PROJECTED", 80)
    column()
    methods = ["gradient_x_delta", {"name": "given", "id": "mine", "importance": importance}]
    summary, _ = result(net, tmp_path, methods=methods, **request)

    (relation,) = summary["given"]
    assert relation["relation"] == "first_examples"
    assert f"first 50 of {ROWS} examples" in relation["detail"]


def test_clusters_when_a_field_has_more_values_than_bytes_then_each_value_is_a_cluster() -> None:
    values = np.random.default_rng(3).permutation(np.repeat(np.arange(700), 3))
    clusters = finders.labelled(len(values), lambda block: values[block])

    assert isinstance(clusters, finders.LabelledRows)
    assert clusters.labels.dtype == np.uint16
    np.testing.assert_array_equal(np.array(clusters.names, int)[clusters.labels], values)


def test_clusters_when_new_values_come_late_then_names_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitrank_engine.job.clusters.hashed_order.BLOCK", 2)
    values = np.array(["d", "d", "b", "c", "a", "d"])
    clusters = finders.labelled(len(values), lambda block: values[block])

    assert isinstance(clusters, finders.LabelledRows)
    assert clusters.names == ["a", "b", "c", "d"]
    assert clusters.labels.tolist() == [3, 3, 1, 2, 0, 3]


@pytest.mark.check
@pytest.mark.parametrize(("by", "limited", "split"), [("all", False, "half"), ("label", True, "half"), ("all", False, "group")])
def test_memory_when_a_hash_divides_the_rows_then_a_job_holds_at_most_4_bytes_for_each(
    net: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, limited: bool, split: str
) -> None:
    for module in (bootstrap, holdout, finders):
        monkeypatch.setattr(module, "MOST_PERMUTED", 1000)

    def peak(rows: int) -> int:
        fields = {"x": np.zeros((rows, 4), np.uint8), "y": (np.arange(rows) % 3).astype(np.uint8), "group": np.arange(rows) // 2}
        clusters = {"by": by, "limit": rows // 5} if limited else {"by": by}
        request = {"methods": ["gradient"], "clusters": clusters, "labels": "y", "ablation": {**ABLATION, "split": split}}
        tracemalloc.start()
        try:
            context = prepared(net, tmp_path, fields, layer="1", inputs={"input": "x"}, **request)
            members = membership_of(context, False)
            groups = bootstrap.Groups.of(context, members)
            assert len(members) == (rows // 5 * 3 if limited else rows)
            assert len(groups.of_member) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Blocks of rows are held beside the column, in any number of rows.
    small, large = peak(3 * 2**20), peak(5 * 2**20)
    assert large - small <= 4 * 2 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize(("split", "most"), [("half", 5), ("few", 4.1), ("group", 13.4)])
def test_memory_when_an_order_divides_the_rows_then_is_that_of_the_documentation(
    net: Program, tmp_path: Path, split: str, most: float
) -> None:
    def peak(rows: int) -> int:
        numbers = np.arange(rows, dtype=np.uint32)
        fields = {"x": np.zeros((rows, 4), np.uint8), "few": numbers % 5000, "group": numbers // 2}
        tracemalloc.start()
        try:
            request = {"methods": ["gradient"], "clusters": {"by": "all"}, "ablation": {**ABLATION, "split": split}}
            context = prepared(net, tmp_path, fields, layer="1", inputs={"input": "x"}, **request)
            bootstrap.Groups.of(context, membership_of(context, False))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(3 * 2**20), peak(5 * 2**20)
    assert large - small <= most * 2 * 2**20
