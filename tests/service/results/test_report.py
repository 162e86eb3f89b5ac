"""The report of a job: one file that says the verdict in words."""

import re
from typing import Any

import httpx
import pytest

from tests.plots.test_figures import arrays, result, summary
from tests.service.conftest import Served, assert_problem, job, put_dataset, ready_model
from unitrank_schemas.results import FidelityResult, Overall, Result, Warn
from unitrank_service.results.report import leader_line
from unitrank_service.results.verdict_text import alike, prediction_error, verdict_in_words

__all__ = ["arrays", "result"]


@pytest.fixture
def done(client: httpx.Client, served: Served, arrays: dict) -> str:  # type: ignore[type-arg]  # as the fixture makes them
    """The id of a job that has succeeded, with a cluster whose name is a formula and markup."""
    ready_model(client, served)
    put_dataset(client)
    id: str = client.post("/v1/jobs", json=job(metadata={"note": "</script><b>"})).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    manifest = served.backend.results.put(summary() | {"job": id}, arrays)
    served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(manifest))
    return id


def test_report_when_asked_for_then_is_one_file_that_fetches_and_runs_nothing(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/report")

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"<script|<link|https?://|url\(", answer.text)
    assert answer.text.count("data:image/png;base64,") == 6
    assert client.get(f"/v1/jobs/{done}").json()["links"]["report"] == f"/v1/jobs/{done}/report"


def test_report_when_names_hold_markup_then_it_is_text(client: httpx.Client, done: str) -> None:
    text = client.get(f"/v1/jobs/{done}/report").text

    assert "$x^2$ &amp; &lt;b&gt;" in text
    assert "<b>" not in text


def test_report_when_read_then_the_verdict_comes_first(client: httpx.Client, done: str) -> None:
    text = client.get(f"/v1/jobs/{done}/report").text

    assert text.index("Yes: the units of layer conv1 that conductance ranks highest do matter") < text.index("<table>")
    for word in ("Worse than random: gradient.mean_abs", "Spearman", "The job warned of nothing", "&#34;conv1&#34;"):
        assert word in text


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


def with_fidelity(result: Result, asked: Any, *errors: float) -> Result:
    """The job asked for it like that; each ranking with the error of predicting no change."""
    options = {"fidelity": asked}
    rankings = [
        each.model_copy(update={"fidelity": FidelityResult(mae=1.0, mae_of_zero=error, bias=0.0)})
        for each, error in zip(result.rankings, errors, strict=True)
    ]
    return result.model_copy(update={"rankings": rankings, "provenance": result.provenance.model_copy(update={"options": options})})


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


def test_leaders_when_predicting_nothing_costs_each_another_error_then_each_has_its_own(result: Result) -> None:
    told = with_fidelity(result, {"select": "top"}, 3.0, 4.0)

    assert [leader_line(leader, told)["nothing"] for leader in told.leaderboard] == ["3", "4"]


def test_report_when_there_is_no_result_then_is_a_problem(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]

    assert_problem(client.get(f"/v1/jobs/{id}/report"), 409, "not_finished")


def test_warnings_when_alike_then_are_one_line() -> None:
    found = [Warn(code="saturated", detail=f"it is flat, {name}", cluster=name, ranking="gradient") for name in "abc"]
    other = Warn(code="in_sample", detail="the same examples", cluster=None, ranking=None)

    lines = alike([*found, other])

    assert [(line["title"], line["clusters"], line["detail"]) for line in lines] == [
        ("Saturated", ["a", "b", "c"], "it is flat, a"),
        ("In sample", [], "the same examples"),
    ]
