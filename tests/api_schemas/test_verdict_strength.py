"""The strength of a verdict in words."""

from typing import Any

import pytest

from tests.plots.test_figures import result
from unitrank_schemas.results import AblationResult, Band, Control, Curve, KeepCurve, Overall, Result, Warn
from unitrank_schemas.verdict_strength import DOUBT_WORDS, strength

__all__ = ["result"]


def with_overall(result: Result, **overall: Any) -> Result:
    """The result whose first ranking has this overall outcome."""
    first = result.rankings[0].model_copy(update={"overall": Overall(**overall)})
    return result.model_copy(update={"rankings": [first, *result.rankings[1:]]})


def in_words(result: Result) -> list[str]:
    return strength(result, result.rankings[0])


@pytest.mark.parametrize("code", DOUBT_WORDS)
def test_strength_when_a_check_does_not_agree_then_is_fragile_and_names_it(result: Result, code: str) -> None:
    fragile = with_overall(result, verdict="better_than_random", robust=False, doubts=[code])

    assert in_words(fragile) == [f"Fragile: {DOUBT_WORDS[code]}."]


def test_strength_when_all_checks_agree_then_is_robust_and_names_them(result: Result) -> None:
    robust = with_overall(result, verdict="better_than_random", robust=True)
    study = AblationResult(
        counts=[1], fractions=[0.5], activity_area=0.1, keep=KeepCurve(score=[1.0], p_value=0.01), verdict="better_than_random"
    )
    ranking = robust.rankings[0]
    clusters = {name: each.model_copy(update={"ablation": study}) for name, each in ranking.clusters.items()}
    whole = robust.model_copy(update={"rankings": [ranking.model_copy(update={"clusters": clusters, "weights_matter": 0.9})]})

    assert in_words(whole) == [
        "Robust: another replacement value, the order by activity, the orders of the other clusters, a network with shuffled "
        "weights and keeping only the first units agree."
    ]


def test_strength_when_the_test_examples_may_have_made_the_scores_then_is_not_called_robust(result: Result) -> None:
    robust = with_overall(result, verdict="better_than_random", robust=True)
    unknown = Warn(code="in_sample_unknown", detail="…", ranking=robust.rankings[0].id)

    assert in_words(robust.model_copy(update={"warnings": [unknown]})) == []


def test_strength_when_nothing_is_shown_then_names_the_area_that_would_have_been_better(result: Result) -> None:
    weak = with_overall(result, verdict="no_better_than_random", robust=False)
    band = Band(mean=[1.0], low=[0.0], high=[2.0])
    study = AblationResult(
        counts=[1],
        fractions=[0.5],
        most=Curve(score=[1.0], area=0.15),
        random=Control(score=band, area=0.1, area_to_beat=0.21),
        verdict="no_better_than_random",
    )
    ranking = weak.rankings[0]
    clusters = {name: each.model_copy(update={"ablation": study}) for name, each in ranking.clusters.items()}
    whole = weak.model_copy(update={"rankings": [ranking.model_copy(update={"clusters": clusters})]})

    assert in_words(whole) == [
        "The area of conductance in cluster a is 0.15; an area above 0.21 would have been better than random."
    ]


def test_strength_when_the_result_is_of_an_older_version_then_says_nothing(result: Result) -> None:
    assert in_words(with_overall(result, verdict="better_than_random")) == []
