"""Doubts: which warnings speak against a better verdict, and in how many clusters."""

from typing import Any

import pytest

from unitrank_engine.result.doubts import with_doubts
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.results import Overall, Ranking, Warn

CLUSTERS = 4


def ranking(*, tested: int = CLUSTERS, keep: list[float] | None = None, method: Any = None, **overall: Any) -> Ranking:
    """A better ranking on four clusters. `keep`: the p-value of `keep` in each tested cluster."""
    ablation = [
        {
            "counts": [],
            "fractions": [],
            "verdict": "better_than_random",
            "p_value": 0.01 if number < tested else None,
            "keep": None if keep is None else {"score": [], "p_value": keep[number]},
        }
        for number in range(CLUSTERS)
    ]
    return Ranking.model_validate(
        {
            "id": "g",
            "method": method or {"name": "gradient"},
            "clusters": {str(number): {"top": [], "ablation": each} for number, each in enumerate(ablation)},
            "overall": {"verdict": "better_than_random", "area": 0.5} | overall,
            "seconds": 0.0,
        }
    )


def overall(of: Ranking, *warnings: Warn, activity_area: float | None = None) -> Overall:
    result = with_doubts(of, activity_area, warnings, Ablation()).overall
    assert result is not None
    return result


def doubts(of: Ranking, *warnings: Warn, activity_area: float | None = None) -> list[str]:
    return overall(of, *warnings, activity_area=activity_area).doubts


def about(code: str, clusters: int, ranking: str | None) -> list[Warn]:
    return [Warn(code=code, detail="", cluster=str(number), ranking=ranking) for number in range(clusters)]


def test_verdict_when_nothing_speaks_against_it_then_is_robust() -> None:
    better = overall(ranking(keep=[0.01] * CLUSTERS), activity_area=0.4)
    equal = overall(ranking(verdict="no_better_than_random"), Warn(code="in_sample", detail=""))

    assert (better.robust, better.doubts) == (True, [])
    assert (equal.robust, equal.doubts) == (False, [])
    assert with_doubts(ranking(), None, [], None).overall == ranking().overall


@pytest.mark.parametrize("code", ["verdict_depends_on_fill", "varies_between_examples", "not_specific", "weights_hardly_matter"])
def test_warning_about_a_ranking_is_a_doubt_of_this_ranking_alone(code: str) -> None:
    assert doubts(ranking(), Warn(code=code, detail="", ranking="g")) == [code]
    assert doubts(ranking(), Warn(code=code, detail="", ranking="other")) == []


@pytest.mark.parametrize(("code", "named"), [("few_tests", None), ("low_accuracy", None), ("verdict_depends_on_fill", "g")])
def test_warning_about_clusters_is_a_doubt_where_at_least_half_of_the_tested_ones_have_it(code: str, named: str | None) -> None:
    assert doubts(ranking(), *about(code, 1, named)) == []
    assert doubts(ranking(), *about(code, 2, named)) == [code]
    assert doubts(ranking(tested=2), *about(code, 1, named)) == [code]
    assert doubts(ranking(tested=2), *about(code, CLUSTERS, named)[2:]) == []


def test_keep_is_a_doubt_where_half_of_the_tested_clusters_keep_no_more_than_random_units() -> None:
    assert doubts(ranking(keep=[0.05, 0.05, 0.05, 0.06])) == []
    assert doubts(ranking(keep=[0.05, 0.05, 0.06, 0.06])) == ["not_sufficient"]


@pytest.mark.parametrize(("area", "expected"), [(0.5, ["no_better_than_activity"]), (0.49, []), (None, [])])
def test_activity_is_a_doubt_where_its_pooled_area_is_at_least_that_of_the_ranking(area: float | None, expected: list[str]) -> None:
    cluster = about("no_better_than_activity", CLUSTERS, "g")

    assert doubts(ranking(), *cluster, activity_area=area) == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"name": "gradient"}, ["in_sample"]),
        ({"name": "given", "field": "scores"}, ["in_sample"]),
        ({"name": "given", "field": None}, []),
    ],
)
def test_in_sample_is_no_doubt_of_importances_that_came_with_the_job(method: Any, expected: list[str]) -> None:
    assert doubts(ranking(method=method), Warn(code="in_sample", detail="")) == expected
