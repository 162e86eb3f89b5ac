"""A result in words: the verdict, reasons to doubt it, its warnings, and the prediction error."""

from typing import Any

import pytest

from tests.plots.test_figures import result
from tests.service.results.conftest import with_fidelity
from unitrank_schemas.result_text import group_warnings, prediction_error
from unitrank_schemas.results import Overall, Result, Warn
from unitrank_schemas.verdict_text import verdict_in_words

__all__ = ["result"]


def in_words(result: Result, *verdicts: str | None) -> str:
    """The sentences where the leaders have these verdicts."""
    leaders = [leader.model_copy(update={"verdict": verdict}) for leader, verdict in zip(result.leaderboard, verdicts, strict=True)]
    return " ".join(verdict_in_words(result.model_copy(update={"leaderboard": leaders})))


def test_words_when_nothing_beats_chance_then_say_no(result: Result) -> None:
    assert in_words(result, "no_better_than_random", "worse_than_random").startswith("Not shown: no ranking finds units")
    assert in_words(result, "undecided", "undecided").startswith("Undecided")
    assert "The rankings were not tested" in in_words(result, None, None)
    assert "Also better than random: gradient.mean_abs" in in_words(result, "better_than_random", "better_than_random")


@pytest.mark.parametrize("first", ["conductance", "gradient.mean_abs"])
def test_words_when_noise_beats_chance_then_call_it_chance(result: Result, first: str) -> None:
    (noise,) = (leader.ranking for leader in result.leaderboard if leader.ranking != first)
    rankings = [
        ranking.model_copy(update={"method": {"name": "random"}}) if ranking.id == noise else ranking for ranking in result.rankings
    ]
    mixed = result.model_copy(update={"rankings": rankings})

    words = in_words(mixed, "better_than_random", "better_than_random")
    assert words.startswith(
        f"Yes: the units of layer {result.layer.name} that {first} ranks highest matter more than units drawn at random"
    )
    assert f"The control ranking {noise} (pure noise) passed the test, so treat the other verdicts with care." in words
    assert "By chance this happens to 5 % of all rankings of noise." in words
    assert "Also better" not in words
    assert "so do not rely on:" not in in_words(mixed, "no_better_than_random", "no_better_than_random")
    assert "noise" not in in_words(mixed, "no_better_than_random", "no_better_than_random")


def warned(result: Result, *warnings: Warn) -> list[str]:
    return verdict_in_words(result.model_copy(update={"warnings": list(warnings)}))


def test_words_when_the_test_was_in_sample_then_claim_nothing(result: Result) -> None:
    lead, doubt, *_ = warned(result, Warn(code="in_sample", detail="…"))

    assert lead.startswith(
        "On the examples that made the ranking, the units of layer conv1 that conductance ranks highest matter; this"
    )
    assert "this proves nothing" in lead
    assert "Yes" not in lead
    assert "tested on the examples that made them" in doubt


def test_words_when_given_scores_may_come_from_the_test_examples_then_claim_nothing(result: Result) -> None:
    unknown = Warn(code="in_sample_unknown", detail="…", ranking="conductance")

    lead = warned(result, unknown)[0]

    assert lead.startswith(
        "Perhaps: the units of layer conv1 that conductance ranks highest matter more than units drawn at random"
    )
    assert "If the test examples made them, this proves nothing." in lead
    assert "did not see" not in lead
    assert warned(result, unknown.model_copy(update={"ranking": "gradient.mean_abs"}))[0].startswith("Yes: ")


def test_words_when_only_given_importances_are_better_then_deny_the_computed_ranking_alone(result: Result) -> None:
    mine = result.rankings[1].model_copy(update={"method": {"name": "given", "importance": None, "field": None}})
    mixed = result.model_copy(update={"rankings": [result.rankings[0], mine]})

    words = in_words(mixed, "no_better_than_random", "better_than_random")

    assert words.startswith("Not shown for conductance: replacing the units of layer conv1 that it ranks highest")
    assert "Better than random: gradient.mean_abs." in words
    assert "no ranking" not in words
    assert "Also" not in words


@pytest.mark.parametrize(("level", "counts"), [(0.95, True), (0.97, True), (0.99, False)])
def test_words_when_the_check_with_another_fill_has_too_few_orders_then_it_does_not_agree(
    result: Result, level: float, counts: bool
) -> None:
    overall = Overall(p_value=0.01, p_worse=1.0, p_family=0.01, p_family_worse=1.0, verdict="better_than_random", robust=True)
    rankings = [result.rankings[0].model_copy(update={"overall": overall}), result.rankings[1]]
    provenance = result.provenance.model_copy(update={"options": {"ablation": {"level": level, "random": 999}}})

    words = " ".join(verdict_in_words(result.model_copy(update={"rankings": rankings, "provenance": provenance})))

    assert "Robust: " in words
    assert ("another replacement value" in words) == counts


def test_words_when_the_verdict_is_in_doubt_then_say_so_right_after_the_lead(result: Result) -> None:
    fill = [Warn(code="verdict_depends_on_fill", detail="…", cluster=cluster, ranking="conductance") for cluster in (None, "a")]
    words = warned(result, *fill, Warn(code="last_hidden_layer", detail="…"))

    assert words[0].startswith("Yes: ")
    assert words[1].startswith("Caution: with the replacement value 'resample' instead of 'baseline' the verdict changes for: ")
    assert words[1].endswith("conductance (over all clusters and in 1 of 2 clusters tested separately).")
    assert words[2].startswith("After layer conv1 the model is linear")
    assert "proves nothing" in words[2]


def test_words_when_a_ranking_is_worse_than_random_then_call_it_reversed(result: Result) -> None:
    overall = Overall(p_value=1.0, p_worse=0.01, verdict="worse_than_random")
    rankings = [result.rankings[0], result.rankings[1].model_copy(update={"overall": overall})]
    worse = result.model_copy(update={"rankings": rankings})

    assert "Worse than random: gradient.mean_abs (p = 0.01). " in in_words(worse, "better_than_random", "worse_than_random")
    assert "or the sign of its scores, may be reversed" in in_words(worse, "no_better_than_random", "worse_than_random")
    assert "do not rely on" not in in_words(worse, "better_than_random", "worse_than_random")
    assert "so do not rely on: gradient.mean_abs" in in_words(worse, "better_than_random", "no_better_than_random")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"select": "delta", "fraction": 0.1}, "10 % of the units, those that differ most from the baseline, are replaced."),
        ({"select": "top", "fraction": 0.25}, "25 % of the units, those that the ranking itself puts first, are replaced."),
        ({"select": "random", "fraction": 0.005}, "0.5 % of the units, chosen at random, are replaced."),
    ],
)
def test_prediction_error_when_the_job_has_fidelity_then_names_the_units(
    result: Result, options: dict[str, Any], text: str
) -> None:
    assert f"{text} Always predicting no change gives 3." in str(prediction_error(with_fidelity(result, options, 3.0, 3.0)))
    assert str(prediction_error(with_fidelity(result, options, 3.0, 4.0))).endswith(text)
    assert prediction_error(with_fidelity(result, None, 3.0, 3.0)) is None


def test_warnings_when_alike_then_are_one_line() -> None:
    warnings = [Warn(code="saturated", detail=f"it is flat, {name}", cluster=name, ranking="gradient") for name in "abc"]
    other = Warn(code="in_sample", detail="the same examples", cluster=None, ranking=None)

    lines = group_warnings([*warnings, other])

    assert [(line["title"], line["clusters"], line["detail"]) for line in lines] == [
        ("Saturated", ["a", "b", "c"], "it is flat, a"),
        ("In sample", [], "the same examples"),
    ]
