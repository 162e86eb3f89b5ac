"""The relation of given scores to computed rankings."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.attribution.projections import directions
from unitrank_engine.result.first_examples import ExampleOrder
from unitrank_engine.result.relations import Computed, relation_of
from unitrank_schemas import results as schema
from unitrank_schemas.methods import Statistic

AVERAGED = {"mean": lambda s: s, "mean_abs": np.abs, "rms": np.square}
SCORES = np.random.default_rng(0).normal(0.2, 1.0, (90, 40))
"""Scores of 90 examples and 40 units."""
LABELS = np.random.default_rng(1).choice(3, 90, p=[0.5, 0.3, 0.2])


def reduced(scores: np.ndarray, statistic: str = "mean") -> np.ndarray:
    values = AVERAGED[statistic](scores).mean(0)
    return np.asarray(np.sqrt(values) if statistic == "rms" else values)


def by_label(scores: np.ndarray, labels: np.ndarray, statistic: str = "mean") -> np.ndarray:
    return np.stack([reduced(scores[labels == label], statistic) for label in range(3)])


def order_of(labels: np.ndarray) -> ExampleOrder:
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return ExampleOrder(len(labels), len(labels), [len(each) for each in members], members, members)


def ranking(scores: np.ndarray, labels: np.ndarray, id: str = "gradient", statistic: Statistic = "mean") -> Computed:
    groups = [scores[labels == label] for label in np.unique(labels)]
    importances = {name: np.stack([reduced(group, name) for group in groups]) for name in AVERAGED}
    return Computed(id, statistic, importances, AVERAGED[statistic](scores) @ directions(scores.shape[1]))


def relation(
    given: np.ndarray, scores: np.ndarray = SCORES, labels: np.ndarray | None = None, statistic: Statistic = "mean"
) -> schema.GivenRelation:
    """The relation to one ranking; without labels there is one cluster."""
    groups = np.zeros(len(scores), int) if labels is None else labels
    return relation_of("mine", np.atleast_2d(given), [ranking(scores, groups, statistic=statistic)], order_of(groups))


def rounded(values: np.ndarray) -> np.ndarray:
    """The values as another tool computes them: in float32."""
    return np.asarray(values.astype(np.float32), float)


def test_relation_when_scores_are_zero_then_is_zero() -> None:
    assert relation(np.zeros(40)) == schema.GivenRelation(ranking="mine", relation="zero", detail="all scores are zero")


def test_relation_when_scores_are_rounded_to_float32_then_are_equal() -> None:
    result = relation(rounded(SCORES.mean(0)))

    assert (result.relation, result.nearest) == ("equal", "gradient")
    assert "equal to `gradient` (largest difference " in result.detail
    assert "e-8 of the largest score)" in result.detail


@pytest.mark.parametrize(("share", "expected"), [(0.99e-3, "equal"), (1.01e-3, "none")])
def test_relation_when_one_score_differs_then_the_limit_is_a_thousandth_of_the_largest(share: float, expected: str) -> None:
    scores = SCORES.mean(0)
    largest = int(np.abs(scores).argmin())
    scores[largest] += share * np.abs(scores).max()

    assert relation(scores).relation == expected


@pytest.mark.parametrize(
    ("factor", "expected", "reason"),
    [
        (90, "factor", "times 90 (largest difference 0 of the largest score): the sum over the examples instead of the mean"),
        (1 / 90, "factor", "divided by the number of examples twice"),
        (0.5, "factor", "times 0.5"),
        (-1, "reversed", "times -1 (largest difference 0 of the largest score): the sign is reversed"),
        (-90, "reversed", "the sign is reversed, and the sum over the examples instead of the mean"),
    ],
)
def test_relation_when_scores_are_scaled_then_the_factor_is_named(factor: float, expected: str, reason: str) -> None:
    result = relation(factor * SCORES.mean(0))

    assert result.relation == expected
    assert reason.replace("0 of", "") in result.detail.replace("2e-16 of", "").replace("1e-16 of", "").replace("0 of", "")


@pytest.mark.parametrize("statistic", ["mean_abs", "rms"])
def test_relation_when_scores_are_another_statistic_then_it_is_named(statistic: str) -> None:
    result = relation(rounded(3 * reduced(SCORES, statistic)))

    assert (result.relation, result.nearest) == ("other_statistic", "gradient")
    meaning = {"mean_abs": "the mean of |score| of the scores of `gradient`", "rms": "the root mean square of the scores"}
    assert result.detail.startswith(meaning[statistic])
    assert "and not the mean, times 3 (" in result.detail


def test_relation_when_clusters_of_unequal_sizes_are_summed_then_says_so() -> None:
    sums = np.stack([SCORES[label == LABELS].sum(0) for label in range(3)])

    result = relation(sums, labels=LABELS)

    assert result.relation == "other_statistic"
    assert "the sum over the examples instead of the mean" in result.detail


def test_relation_when_each_cluster_is_divided_by_its_largest_score_then_the_factors_are_named() -> None:
    means = by_label(SCORES, LABELS)
    scaled = means / np.abs(means).max(1, keepdims=True)

    result = relation(scaled, labels=LABELS)

    assert result.relation == "other_statistic"
    assert "times a factor of each cluster, from " in result.detail


@pytest.mark.parametrize("count", [1, 7, 64, 89])
@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "rms"])
def test_relation_when_scores_are_of_the_first_examples_then_their_number_is_named(count: int, statistic: Statistic) -> None:
    result = relation(rounded(2 * reduced(SCORES[:count], statistic)), statistic=statistic)

    assert (result.relation, result.nearest) == ("first_examples", "gradient")
    assert f"over only the first {count} of 90 examples, times 2 (" in result.detail


def test_relation_when_clusters_are_of_the_first_examples_then_the_count_is_of_the_job() -> None:
    result = relation(rounded(by_label(SCORES[:30], LABELS[:30])), labels=LABELS)

    assert result.relation == "first_examples"
    assert "over only the first 30 of 90 examples (" in result.detail


def test_relation_when_clusters_are_of_the_first_examples_of_each_then_the_count_is_of_each_cluster() -> None:
    means = np.stack([SCORES[label == LABELS][:10].mean(0) for label in range(3)])

    result = relation(rounded(means), labels=LABELS)

    assert result.relation == "first_examples"
    assert f"over only the first 10 of {np.bincount(LABELS).max()} examples of each cluster" in result.detail


def test_relation_when_a_cluster_is_not_in_the_first_examples_then_its_scores_must_be_zero() -> None:
    labels = np.sort(LABELS)
    means = np.stack([SCORES[:20].mean(0), np.zeros(40), np.zeros(40)])

    absent, present = relation(means, labels=labels), relation(means + np.eye(3)[1][:, None], labels=labels)

    assert absent.relation == "first_examples"
    assert "first 20 of 90" in absent.detail
    assert present.relation == "none"


def test_relation_when_rankings_are_several_then_the_strongest_relation_counts_and_equals_are_named() -> None:
    one = np.zeros(90, int)
    rankings = [
        ranking(2 * SCORES, one, "double"),
        ranking(SCORES, one, "first"),
        ranking(SCORES + 1e-9, one, "second"),
        ranking(np.abs(SCORES), one, "other"),
    ]

    result = relation_of("mine", SCORES.mean(0, keepdims=True), rankings, order_of(one))

    assert (result.relation, result.nearest) == ("equal", "first")
    assert result.detail.endswith("; the same holds for `second`")


def test_relation_when_scores_are_similar_then_the_detail_names_the_ranking_but_nothing_is_nearest() -> None:
    result = relation(SCORES.mean(0) + 0.05 * np.random.default_rng(2).normal(size=40))

    assert (result.relation, result.nearest) == ("none", None)
    assert "; the most similar is `gradient` (cosine 0.9" in result.detail


def random_relations(units: int, draws: int, labels: np.ndarray) -> Sequence[schema.GivenRelation]:
    generator = np.random.default_rng(units)
    scores = generator.normal(0.2, 1.0, (len(labels), units))
    rankings = [ranking(scores, labels, statistic=statistic) for statistic in ("mean", "mean_abs")]
    shape = (len(np.unique(labels)), units)
    return [relation_of("mine", generator.normal(size=shape), rankings, order_of(labels)) for _ in range(draws)]


@pytest.mark.parametrize("units", [2, 3, 4, 8, 40])
def test_relation_when_scores_are_random_then_there_is_none(units: int) -> None:
    """With 2 units and 2 000 examples, a plain limit of 1e-3 names most random scores."""
    one = random_relations(units, 20, np.zeros(2000, int))
    three = random_relations(units, 20, np.arange(300) % 3)

    assert {each.relation for each in (*one, *three)} == {"none"}


def test_relation_when_there_is_a_single_unit_then_only_equal_scores_are_named() -> None:
    one_unit = SCORES[:, :1]
    factor, equal = relation(np.array([3.0]), one_unit), relation(one_unit.mean(0), one_unit)

    assert (factor.relation, equal.relation) == ("none", "equal")


def test_relation_when_the_computed_ranking_is_zero_then_there_is_none() -> None:
    assert relation(np.ones(40), np.zeros((90, 40))).relation == "none"


def scores_and_job(folder: Path) -> tuple[np.ndarray, Callable[..., dict[str, Any]]]:
    """The gradients of 30 examples by eager PyTorch, and a function that runs a job."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(30, 5)
    labels = torch.arange(30) % 3
    h = network[1](network[0](x)).detach().requires_grad_()
    network[4](network[3](network[2](h)))[torch.arange(30), labels].sum().backward()
    assert h.grad is not None
    program = program_of(network, x[:2])

    def job(importance: Any, parts: Memory | None = None, **request: Any) -> dict[str, Any]:
        given = {"name": "given", "id": "mine", "importance": importance}
        fields = {"x": x.numpy(), "y": labels.numpy()}
        settings = {"methods": ["activation", "gradient", given], "ablation": None, "fidelity": None, **request}
        return rank(program, folder, fields, "1", parts=parts, **settings)[0]

    return h.grad.double().numpy(), job


def test_relation_when_a_job_has_scores_of_its_first_examples_then_says_so_also_with_reused_parts(tmp_path: Path) -> None:
    scores, job = scores_and_job(tmp_path)
    parts, first = Memory(), scores[:8].mean(0).tolist()

    fresh, again = job(first, parts), job(first, parts)

    (result,) = fresh["given"]
    assert (result["relation"], result["nearest"]) == ("first_examples", "gradient")
    assert "over only the first 8 of 30 examples (" in result["detail"]
    assert again["given"] == fresh["given"]
    assert {"activation", "gradient"} <= set(again["cost"]["reused"])


def test_relation_when_a_job_has_clusters_then_they_are_compared_together(tmp_path: Path) -> None:
    scores, job = scores_and_job(tmp_path)
    equal = {str(label): scores[label::3].mean(0).tolist() for label in range(3)}
    clusters = {"clusters": {"by": "label"}}

    swapped = job({"0": equal["1"], "1": equal["0"], "2": equal["2"]}, **clusters)["given"]

    assert [each["relation"] for each in job(equal, **clusters)["given"]] == ["equal"]
    assert [each["relation"] for each in swapped] == ["none"]


def test_relation_when_baselines_depend_on_the_cluster_then_rows_keep_their_order(tmp_path: Path) -> None:
    scores, job = scores_and_job(tmp_path)
    first = {str(label): scores[:12][label::3].mean(0).tolist() for label in range(3)}

    (result,) = job(first, clusters={"by": "label"}, baseline={"kind": "cluster_mean"})["given"]

    assert result["relation"] == "first_examples"
    assert "first 12 of 30 examples" in result["detail"]
