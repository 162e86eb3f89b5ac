"""A result in words: the verdict, its doubts, its warnings, and the columns of the leaderboard."""

from typing import Any

import pytest

from tests.plots.test_figures import result
from tests.service.results.conftest import with_fidelity
from unitrank_schemas.results import Overall, Result, Warn
from unitrank_service.results.verdict_text import alike, prediction_error, verdict_in_words

__all__ = ["result"]


def verdicts(result: Result, *found: str | None) -> str:
    leaders = [leader.model_copy(update={"verdict": verdict}) for leader, verdict in zip(result.leaderboard, found, strict=True)]
    return " ".join(verdict_in_words(result.model_copy(update={"leaderboard": leaders})))


def test_words_when_nothing_beats_chance_then_say_no(result: Result) -> None:
    assert verdicts(result, "no_better_than_random", "worse_than_random").startswith("No: no ranking finds units")
    assert verdicts(result, "undecided", "undecided").startswith("Undecided")
    assert "not put to the test" in verdicts(result, None, None)
    assert "Better than random too: gradient.mean_abs" in verdicts(result, "better_than_random", "better_than_random")


@pytest.mark.parametrize("first", ["conductance", "gradient.mean_abs"])
def test_words_when_noise_beats_chance_then_call_it_chance(result: Result, first: str) -> None:
    (noise,) = (leader.ranking for leader in result.leaderboard if leader.ranking != first)
    rankings = [
        ranking.model_copy(update={"method": {"name": "random"}}) if ranking.id == noise else ranking for ranking in result.rankings
    ]
    mixed = result.model_copy(update={"rankings": rankings})

    said = verdicts(mixed, "better_than_random", "better_than_random")
    assert said.startswith(f"Yes: the units of layer {result.layer.name} that {first} ranks highest do matter")
    assert f"{noise}, which is noise, came out better than random: by chance, as 5 % of all rankings of noise do." in said
    assert "too" not in said
    assert "of no use" not in verdicts(mixed, "no_better_than_random", "no_better_than_random")
    assert "noise" not in verdicts(mixed, "no_better_than_random", "no_better_than_random")


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


def test_words_when_the_verdict_is_in_doubt_then_say_so_right_after_the_lead(result: Result) -> None:
    fill = [Warn(code="verdict_depends_on_fill", detail="…", cluster=cluster, ranking="conductance") for cluster in (None, "a")]
    words = warned(result, *fill, Warn(code="last_hidden_layer", detail="…"))

    assert words[0].startswith("Yes: ")
    assert words[1].endswith("it is not the same for conductance (over all clusters and in 1 of 2 by itself).")
    assert words[2].startswith("Behind layer conv1 the model is linear")
    assert "proves nothing" in words[2]


def test_words_when_a_ranking_is_worse_than_random_then_call_it_upside_down(result: Result) -> None:
    overall = Overall(p_value=1.0, p_worse=0.01, verdict="worse_than_random")
    rankings = [result.rankings[0], result.rankings[1].model_copy(update={"overall": overall})]
    worse = result.model_copy(update={"rankings": rankings})

    assert "Worse than random: gradient.mean_abs (p = 0.01). " in verdicts(worse, "better_than_random", "worse_than_random")
    assert "or its sign, is upside down" in verdicts(worse, "no_better_than_random", "worse_than_random")
    assert "of no use" not in verdicts(worse, "better_than_random", "worse_than_random")
    assert "of no use for this question: gradient.mean_abs" in verdicts(worse, "better_than_random", "no_better_than_random")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"select": "delta", "fraction": 0.1}, "10 % of the units, those that differ most from the baseline, are replaced"),
        ({"select": "top", "fraction": 0.25}, "25 % of the units, those that the ranking itself has on top, are replaced"),
        ({"select": "random", "fraction": 0.005}, "0.5 % of the units, drawn by lot, are replaced"),
    ],
)
def test_prediction_error_when_asked_for_then_says_of_which_units(result: Result, asked: dict[str, Any], says: str) -> None:
    assert f"{says}; whoever predicts no change has 3." in str(prediction_error(with_fidelity(result, asked, 3.0, 3.0)))
    assert str(prediction_error(with_fidelity(result, asked, 3.0, 4.0))).endswith(f"{says}.")
    assert prediction_error(with_fidelity(result, None, 3.0, 3.0)) is None


def test_warnings_when_alike_then_are_one_line() -> None:
    found = [Warn(code="saturated", detail=f"it is flat, {name}", cluster=name, ranking="gradient") for name in "abc"]
    other = Warn(code="in_sample", detail="the same examples", cluster=None, ranking=None)

    lines = alike([*found, other])

    assert [(line["title"], line["clusters"], line["detail"]) for line in lines] == [
        ("Saturated", ["a", "b", "c"], "it is flat, a"),
        ("In sample", [], "the same examples"),
    ]
