"""The comparison of two results."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from typer.testing import CliRunner

import unitrank
from unitrank.cli.compare import compared
from unitrank.cli.main import app
from unitrank_schemas.layer_lines import layer_lines
from unitrank_schemas.results import Content, Ranking

RNG = np.random.default_rng(6)


def changed(result: unitrank.JobResult, **fields: Any) -> unitrank.JobResult:
    return unitrank.JobResult(result.summary.model_copy(update=fields), result.arrays)


def with_options(result: unitrank.JobResult, **options: Any) -> unitrank.JobResult:
    merged = result.summary.provenance.options | options
    return changed(result, provenance=result.summary.provenance.model_copy(update={"options": merged}))


def with_studies(result: unitrank.JobResult, units_for_90: list[int | None], keep_area: list[float | None]) -> unitrank.JobResult:
    """The result with these values in the clusters of each ranking."""
    rankings: list[Ranking] = []
    for ranking in result.summary.rankings:
        clusters = {}
        for (name, cluster), units, keep in zip(ranking.clusters.items(), units_for_90, keep_area, strict=True):
            assert cluster.ablation is not None
            study = cluster.ablation.model_copy(update={"units_for_90": units, "keep_area": keep})
            clusters[name] = cluster.model_copy(update={"ablation": study})
        rankings.append(ranking.model_copy(update={"clusters": clusters}))
    return changed(result, rankings=rankings)


def test_units_for_90_when_the_number_of_clusters_is_even_then_equal_those_of_the_table_of_layers(
    result: unitrank.JobResult,
) -> None:
    result = with_studies(result, [3, 7], [None, None])

    judged = compared(result, result)[0].judged[0]
    (line,) = layer_lines({"2": result.summary}, ranking="gradient")

    assert (judged.units_for_90, line.units_for_90) == (7, 7)


@pytest.fixture(scope="module")
def wide(result: unitrank.JobResult) -> tuple[unitrank.JobResult, unitrank.JobResult]:
    """Two results with 60 units each, whose importances are partly equal."""
    layer = result.layer.model_copy(update={"count": 60, "shape": [60]})
    values = RNG.normal(size=(2, 60))
    pair = (values, values + RNG.normal(size=(2, 60)))
    first, second = (
        unitrank.JobResult(result.summary.model_copy(update={"layer": layer}), {"importance/gradient": array}) for array in pair
    )
    return first, second


def test_results_when_compared_with_themselves_then_correlate_fully(result: unitrank.JobResult) -> None:
    comparisons = compared(result, result)

    assert [each.ranking for each in comparisons] == ["gradient", "conductance"]
    for each in comparisons:
        assert each.judged[0] == each.judged[1]
        assert (each.differences, each.no_agreement) == ([], None)
        assert (each.spearman, each.top_overlap, each.top) == (pytest.approx(1), 12, 12)
        assert each.as_json()["correlations"] == {"0": pytest.approx(1), "1": pytest.approx(1)}


def test_importances_when_they_differ_then_agreement_is_that_of_scipy_and_of_sets(
    wide: tuple[unitrank.JobResult, unitrank.JobResult],
) -> None:
    comparison = compared(*wide)[0]

    a, b = (result.arrays["importance/gradient"] for result in wide)
    correlations = [stats.spearmanr(a[row], b[row]).statistic for row in (0, 1)]
    overlaps = [len(set(np.argsort(-a[row])[:20]) & set(np.argsort(-b[row])[:20])) for row in (0, 1)]
    assert [each.spearman for each in comparison.agreement.values()] == pytest.approx(correlations)
    assert [each.top_overlap for each in comparison.agreement.values()] == overlaps
    assert 0 < comparison.agreement["0"].top_overlap < 20
    assert (comparison.spearman, comparison.top_overlap) == (pytest.approx(np.mean(correlations)), np.mean(overlaps))


def test_judgement_when_a_result_has_a_value_then_it_is_that_of_the_summary(result: unitrank.JobResult) -> None:
    judged = compared(result, result)[0].judged[0]

    ranking, leader = result.rankings["gradient"], next(each for each in result.leaderboard if each.ranking == "gradient")
    assert ranking.overall is not None
    assert (judged.verdict, judged.robust, judged.doubts) == (leader.verdict, leader.robust, ranking.overall.doubts)
    assert (judged.p_family, judged.area, judged.ties_with) == (ranking.overall.p_family, leader.area, leader.ties_with)
    assert judged.doubts
    assert judged.ties_with == ["conductance"]


@pytest.mark.parametrize(
    ("units", "median"), [([3, 5], 5), ([4, 4], 4), ([3, None], None), ([None, None], None)]
)  # fmt: skip
def test_units_for_90_when_a_cluster_has_none_then_it_counts_as_more_than_all(
    result: unitrank.JobResult, units: list[int | None], median: int | None
) -> None:
    judged = compared(with_studies(result, units, [0.5, None]), result)[0].judged[0]

    assert (judged.units_for_90, judged.keep) == (median, 0.5)


def test_differences_when_requests_differ_then_the_parts_are_named(result: unitrank.JobResult) -> None:
    other = with_options(result, ablation=result.summary.provenance.options["ablation"] | {"fill": "zero", "random": 9})
    rankings = [each.model_copy(update={"method": each.method | {"statistic": "rms"}}) for each in other.summary.rankings]
    other = changed(other, model=Content(name="m", digest="sha256:" + "3" * 64), rankings=rankings)

    assert compared(result, other)[0].differences == ["model", "method.statistic", "ablation.fill", "ablation.random"]


def test_agreement_when_places_or_clusters_differ_then_there_is_none_with_the_reason(result: unitrank.JobResult) -> None:
    elsewhere = changed(result, layer=result.layer.model_copy(update={"name": "3"}))
    other_kind = with_options(result, clusters={"by": "prediction"})
    other_names = changed(result, clusters=[each.model_copy(update={"name": each.name + "!"}) for each in result.clusters])
    groups = with_options(result, clusters={"by": "kmeans", "k": 2})
    other_groups = changed(
        groups, clusters=[each.model_copy(update={"examples": 20 + i}) for i, each in enumerate(result.clusters)]
    )
    no_arrays = unitrank.JobResult(result.summary, {})

    for first, second, reason in (
        (result, elsewhere, "different places"),
        (result, other_kind, "different clusters"),
        (result, other_names, "different clusters"),
        (groups, other_groups, "have different examples"),
        (result, no_arrays, "it needs the arrays of both results"),
    ):
        comparison = compared(first, second)[0]
        assert reason in str(comparison.no_agreement)
        assert comparison.as_json()["agreement"] == {"spearman": None, "top_overlap": None}
        assert comparison.judged[0].verdict == result.leaderboard[0].verdict
    assert compared(groups, groups)[0].no_agreement is None


def test_results_when_they_have_nothing_in_common_then_are_not_compared(result: unitrank.JobResult) -> None:
    layer = result.layer.model_copy(update={"count": 3})
    smaller = unitrank.JobResult(result.summary.model_copy(update={"layer": layer}), result.arrays)
    renamed = [ranking.model_copy(update={"id": ranking.id + "-2"}) for ranking in result.summary.rankings]
    with pytest.raises(unitrank.NotPossible, match="layer 2 has 12 units, and layer 2 has 3"):
        compared(result, smaller)
    with pytest.raises(unitrank.NotPossible, match="no ranking in common"):
        compared(result, unitrank.JobResult(result.summary.model_copy(update={"rankings": renamed}), result.arrays))


def test_command_when_two_results_are_saved_then_it_prints_words_and_json(result: unitrank.JobResult, tmp_path: Path) -> None:
    other = with_options(with_studies(result, [None, None], [0.25, 0.75]), labels="z")
    files = [str(result.save(tmp_path / "a.npz")), str(other.save(tmp_path / "b.npz"))]

    words = CliRunner().invoke(app, ["compare", *files]).stderr
    printed = json.loads(CliRunner().invoke(app, ["compare", *files, "--json"]).stdout)

    lines = [" ".join(line.split()) for line in words.splitlines()]
    assert lines[0] == "gradient: rank correlation 1.000 to 1.000; 12 of the first 12 units in common"
    assert lines[1] == "the requests differ in: labels"
    assert "verdict better than random better than random" in lines
    assert "strength fragile fragile" in lines
    assert "p over all clusters 0.05 0.05" in lines
    assert any(line.startswith("area of keeping") and line.endswith(" 0.500") for line in lines)
    assert "tied with conductance conductance" in lines
    assert "0 1.000 12" in lines
    # No cluster has a selectivity.
    assert not any(line.startswith("selectivity") for line in lines)
    assert printed[0]["keep"][1] == 0.5
    assert printed[0]["p_family"] == [0.05, 0.05]
    assert printed[0]["units_for_90"][1] is None
    assert printed[0]["agreement"] == {"spearman": pytest.approx(1), "top_overlap": 12}


@pytest.mark.check
def test_results_of_several_layers_when_one_cannot_be_compared_then_the_others_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    x, files = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32), {}
    for name, layers in {"a": ["1", "3"], "b": ["1", "5"], "c": ["1", "0"]}.items():
        result = unitrank.rank(network, layers, x, methods=["gradient"], ablation=None, joint=True)
        files[name] = str(result.save(tmp_path / f"{name}.npz"))
    equal = CliRunner().invoke(app, ["compare", files["a"], files["b"], "--json"])
    unequal = CliRunner().invoke(app, ["compare", files["a"], files["c"], "--json"])

    of_layers = {each["layer"]: each for each in json.loads(equal.stdout)}
    assert of_layers.keys() == {"1", "joint"}
    assert of_layers["1"]["agreement"]["spearman"] == pytest.approx(1)
    assert of_layers["joint"]["agreement"]["spearman"] is None
    assert [each["layer"] for each in json.loads(unequal.stdout)] == ["1"]
    assert "not compared: " in unequal.stderr
