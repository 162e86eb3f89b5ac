"""The answer for a reader without statistics: a light, the reason and the next step."""

from typing import Any

import pytest

from tests.plots.test_figures import result
from unitrank_schemas.answer import ANSWERS, REMEDIES, STEPS, answer_of
from unitrank_schemas.results import AblationResult, Leader, Overall, Result, Warn
from unitrank_schemas.verdict_strength import DOUBT_WORDS

__all__ = ["result"]


def with_overall(result: Result, verdict: Any, **overall: Any) -> Result:
    """The result with one ranking, which has this overall outcome."""
    ranking = result.rankings[0].model_copy(update={"overall": Overall(verdict=verdict, **overall)})
    leader = Leader(ranking=ranking.id, verdict=verdict, better_than_random=0, of=len(result.clusters))
    return result.model_copy(update={"rankings": [ranking], "leaderboard": [leader], "warnings": []})


@pytest.mark.parametrize(
    ("verdict", "overall", "light", "word"),
    [
        ("better_than_random", {"robust": True}, "green", "Yes"),
        ("better_than_random", {"robust": False, "doubts": ["few_tests"]}, "amber", "Yes, with care"),
        ("no_better_than_random", {}, "red", "No"),
        ("worse_than_random", {}, "red", "No"),
        ("undecided", {}, "grey", "Not known"),
    ],
)
def test_answer_when_a_verdict_is_given_then_its_light_says_how_far_to_rely_on_it(
    result: Result, verdict: str, overall: dict[str, Any], light: str, word: str
) -> None:
    answer = answer_of(with_overall(result, verdict, **overall))

    assert (answer.light, answer.word) == (light, word)
    assert answer.ranking == result.rankings[0].id
    assert answer.reason.endswith(".")
    assert all(step.endswith(".") for step in answer.steps)


def test_answer_when_the_test_examples_may_have_made_the_scores_then_is_not_green(result: Result) -> None:
    robust = with_overall(result, "better_than_random", robust=True)
    unknown = Warn(code="in_sample_unknown", detail="…", ranking=robust.rankings[0].id)

    assert answer_of(robust.model_copy(update={"warnings": [unknown]})).light == "amber"


def test_answer_when_no_further_check_was_made_then_does_not_say_that_checks_agree(result: Result) -> None:
    robust = with_overall(result, "better_than_random", robust=True)
    ranking = robust.rankings[0]
    checked = robust.model_copy(update={"rankings": [ranking.model_copy(update={"weights_matter": 1.0})]})
    clusters = {
        name: cluster.model_copy(update={"ablation": AblationResult(counts=[], fractions=[], verdict="better_than_random")})
        for name, cluster in ranking.clusters.items()
    }
    provenance = robust.provenance.model_copy(update={"options": {"ablation": {"check_fill": None}}})
    alone = ranking.model_copy(update={"clusters": clusters, "specificity": None})
    unchecked = robust.model_copy(update={"provenance": provenance, "rankings": [alone]})

    assert answer_of(checked).reason.endswith("and the further checks agree.")
    assert answer_of(unchecked).reason.endswith("No further check was made.")
    assert answer_of(unchecked).light == "green"


@pytest.mark.parametrize("code", DOUBT_WORDS)
def test_answer_when_a_check_does_not_agree_then_names_it_and_what_to_do(result: Result, code: str) -> None:
    answer = answer_of(with_overall(result, "better_than_random", robust=False, doubts=[code]))

    assert answer.light == "amber"
    assert REMEDIES[code] in answer.steps


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        ([3, None], ""),
        ([3], " Its first 3 of {count} units keep 90\u00a0% of the score."),
        ([3, 5], " In at least half of the clusters, its first 5 of {count} units keep 90\u00a0% of the score."),
    ],
)
def test_answer_when_clusters_need_different_numbers_of_units_then_names_the_number_for_half_of_them(
    result: Result, needed: list[int | None], words: str
) -> None:
    robust = with_overall(result, "better_than_random", robust=True)
    ranking = robust.rankings[0]
    first = next(iter(ranking.clusters.values()))
    clusters = {
        str(number): first.model_copy(
            update={"ablation": AblationResult(counts=[1], fractions=[0.5], units_for_90=units, verdict="better_than_random")}
        )
        for number, units in enumerate(needed)
    }
    whole = robust.model_copy(update={"rankings": [ranking.model_copy(update={"clusters": clusters})]})

    assert answer_of(whole).steps[0] == f"Use the list of {ranking.id}." + words.format(count=result.layer.count)


def test_answer_when_nothing_was_tested_then_says_so(result: Result) -> None:
    leaders = [leader.model_copy(update={"verdict": None}) for leader in result.leaderboard]

    assert answer_of(result.model_copy(update={"leaderboard": leaders})).light == "grey"


def test_answer_when_another_list_passed_then_names_it(result: Result) -> None:
    failed = with_overall(result, "no_better_than_random")
    other = result.rankings[1]
    leaders = [*failed.leaderboard, Leader(ranking=other.id, verdict="better_than_random", better_than_random=1, of=1)]

    steps = answer_of(failed.model_copy(update={"rankings": [*failed.rankings, other], "leaderboard": leaders})).steps

    assert steps[0] == f"Use one of the other lists of this job, which passed: {other.id}."


def test_answer_when_its_words_are_read_then_no_term_of_statistics_is_in_them() -> None:
    words = " ".join(reason for _, _, reason in ANSWERS.values())

    assert not {"p =", "ablation", "holdout", "null", "quantile", "area"} & set(words.lower().split())
    assert set(STEPS) == {"better_than_random", "no_better_than_random", "worse_than_random", "undecided"}
