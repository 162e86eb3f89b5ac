"""The report of a job: one file that says the verdict in words."""

import re

import httpx
import pytest

from api_schemas.results import Result
from service.report import verdict_in_words
from tests.plots.test_figures import arrays, result, summary
from tests.service.conftest import Served, assert_problem, job, put_dataset, ready_model

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

    assert text.index("Yes: the units of conv1 that conductance ranks highest do matter") < text.index("<table>")
    for word in ("of no use for this question: gradient.mean_abs", "Spearman", "The job warned of nothing", "&#34;conv1&#34;"):
        assert word in text


def verdicts(result: Result, *found: str | None) -> str:
    leaders = [leader.model_copy(update={"verdict": verdict}) for leader, verdict in zip(result.leaderboard, found, strict=True)]
    return " ".join(verdict_in_words(result.model_copy(update={"leaderboard": leaders})))


def test_words_when_nothing_beats_chance_then_say_no(result: Result) -> None:
    assert verdicts(result, "no_better_than_random", "worse_than_random").startswith("No: no ranking finds units")
    assert verdicts(result, "undecided", "undecided").startswith("Undecided")
    assert "not put to the test" in verdicts(result, None, None)
    assert "Better than random too: gradient.mean_abs" in verdicts(result, "better_than_random", "better_than_random")


def test_report_when_there_is_no_result_then_is_a_problem(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]

    assert_problem(client.get(f"/v1/jobs/{id}/report"), 409, "not_finished")
