"""The report of a job: one file with the verdict in words."""

import json
import re

import httpx
import pytest

from tests.plots.test_figures import arrays, result, summary
from tests.service.conftest import Served, assert_problem, job, put_dataset, ready_model
from tests.service.results.conftest import with_fidelity
from unitrank_schemas.base import Json
from unitrank_schemas.results import Result
from unitrank_service.results.report import leader_line
from unitrank_store.redis import keyspace

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


def stored(served: Served, id: str, content: Json, arrays: dict) -> None:  # type: ignore[type-arg]  # as the fixture makes them
    """Replace the result of a job, as if a worker of another version had written it."""
    location = served.backend.results.put(content | {"job": id}, arrays)
    served.backend.connection.hset(keyspace.record("job", id), "result", json.dumps(dict(location)))


@pytest.mark.parametrize("path", ["report", "plots/ablation.svg", "page"])
def test_result_when_a_newer_worker_wrote_it_then_known_fields_are_shown_or_the_reason_is(
    client: httpx.Client,
    served: Served,
    done: str,
    arrays: dict,  # type: ignore[type-arg]  # as the fixture makes them
    path: str,
) -> None:
    url, headers = (f"/jobs/{done}", {"Accept": "text/html"}) if path == "page" else (f"/v1/jobs/{done}/{path}", {})
    newer = summary()
    newer["colour"] = newer["leaderboard"][0]["colour"] = newer["cost"]["nodes"] = 7
    stored(served, done, newer, arrays)
    readable = client.get(url, headers=headers)
    newer["leaderboard"][0]["verdict"] = "not of this version"
    stored(served, done, newer, arrays)
    unreadable = client.get(url, headers=headers | {"Cache-Control": "no-cache"})

    assert readable.status_code == 200, readable.text
    assert unreadable.status_code == 503
    assert "newer version of Unitrank" in unreadable.text
    assert client.get(f"/v1/jobs/{done}/result").json()["colour"] == 7


def test_report_when_asked_for_then_is_one_file_that_fetches_and_runs_nothing(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/report")

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script|<link|https?://|url\(", answer.text)
    assert answer.text.count("data:image/png;base64,") == 9
    assert client.get(f"/v1/jobs/{done}").json()["links"]["report"] == f"/v1/jobs/{done}/report"


def test_report_when_read_then_the_verdict_comes_first_and_markup_is_text(client: httpx.Client, done: str) -> None:
    text = client.get(f"/v1/jobs/{done}/report").text

    assert "$x^2$ &amp; &lt;b&gt;" in text
    assert "<b>" not in text
    assert text.index(
        "Yes: the units of layer conv1 that conductance ranks highest matter more than units drawn at random"
    ) < text.index("<table>")
    for word in ("Worse than random: gradient.mean_abs", "Spearman", "This job has no warnings", "&#34;conv1&#34;"):
        assert word in text


def test_leaders_when_the_error_of_predicting_no_change_differs_then_each_leader_has_its_own(result: Result) -> None:
    with_errors = with_fidelity(result, {"select": "top"}, 3.0, 4.0)

    assert [leader_line(leader, with_errors)["no_change"] for leader in with_errors.leaderboard] == ["3", "4"]


def test_report_when_there_is_no_result_then_is_a_problem(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]

    assert_problem(client.get(f"/v1/jobs/{id}/report"), 409, "not_finished")
