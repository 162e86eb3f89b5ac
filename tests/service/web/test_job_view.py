"""One job on the page: its state in words, and the parts of its result."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import httpx
import pytest

from tests.service.conftest import Json, Served, assert_problem, job, put_dataset, ready_model
from tests.service.results.conftest import ARRAYS, succeeded, summary
from tests.service.web.conftest import HOSTILE, TABS, choices
from unitrank_schemas.results import Result
from unitrank_service.routes import pages


@pytest.mark.parametrize("tab", TABS)
def test_job_when_it_has_succeeded_then_every_part_is_there(
    client: httpx.Client, browser: httpx.Client, served: Served, tab: str
) -> None:
    id = succeeded(client, served)

    answer = browser.get(f"/jobs/{id}", params={"tab": tab, "cluster": "=b", "ranking": "gradient", "channel": ""})

    assert answer.status_code == 200, answer.text
    assert f'aria-current="page">{tab.capitalize()}' in answer.text
    pictures = re.findall(r'<a href="(/v1/[^"]+)"><img[^>]* src="([^"]+)"', answer.text)
    assert len(pictures) == answer.text.count("<img") - 1  # the icon
    for whole, picture in pictures:
        assert whole == picture
        assert browser.get(unescape(picture)).status_code == 200, picture


@pytest.mark.parametrize("tab", TABS)
def test_job_when_its_result_is_large_then_another_process_parses_it(
    client: httpx.Client, browser: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch, tab: str
) -> None:
    id = succeeded(client, served)
    small = browser.get(f"/jobs/{id}?tab={tab}&cluster=a").text
    monkeypatch.setattr(pages, "SMALL_BYTES", 10)
    monkeypatch.setattr(Result, "model_validate_json", lambda *_, **__: pytest.fail("the service parses the summary"))

    assert browser.get(f"/jobs/{id}?tab={tab}&cluster=a").text == small


def ended(client: httpx.Client, served: Served, change: Callable[[Json], Json], **changes: Any) -> str:
    """The id of a job with a result, changed by `change`."""
    ready_model(client, served)
    put_dataset(client)
    id: str = client.post("/v1/jobs", json=job(**changes)).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    manifest = served.backend.results.put(change(summary(id)), ARRAYS)
    served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(manifest))
    return id


def test_warning_when_over_all_clusters_and_in_some_then_says_both(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    warnings = [
        {"code": "verdict_depends_on_fill", "detail": "…", "cluster": cluster, "ranking": "gradient"} for cluster in (None, "a")
    ]
    id = ended(client, served, lambda summary: summary | {"warnings": warnings})

    assert "</code> over all clusters and in cluster a" in browser.get(f"/jobs/{id}?tab=warnings").text


def test_verdict_when_nothing_was_tested_then_no_picture_says_otherwise(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    untested = {"ranking": "gradient", "verdict": None, "better_than_random": 0, "of": 2}
    id = ended(client, served, lambda summary: summary | {"leaderboard": [untested]}, ablation=None)

    page = browser.get(f"/jobs/{id}").text

    assert "The rankings were not tested" in page
    assert "/plots/leaderboard" not in page
    assert_problem(client.get(f"/v1/jobs/{id}/plots/leaderboard.png"), 422, "no_ablation")
    assert "undecided" not in client.get(f"/v1/jobs/{id}/report").text


def test_heatmaps_when_channels_come_last_then_each_of_them_can_be_chosen(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    last = {"shape": [2, 2, 4], "channel_axis": 2}
    id = ended(client, served, lambda summary: summary | {"layer": summary["layer"] | last})

    page = browser.get(f"/jobs/{id}?tab=heatmaps&channel=3").text

    assert choices(page, "channel") == ["", "0", "1", "2", "3"]
    assert browser.get(unescape(re.findall(r'<img[^>]* src="(/v1/[^"]+)"', page)[0])).status_code == 200


@pytest.mark.parametrize(("kind", "start"), [("json", b"{"), ("csv", b"cluster,"), ("npz", b"PK"), ("safetensors", b"")])
def test_download_when_followed_then_is_a_file(
    client: httpx.Client, browser: httpx.Client, served: Served, kind: str, start: bytes
) -> None:
    id = succeeded(client, served)
    answer = browser.get(f"/jobs/{id}/download/{kind}")

    assert answer.status_code == 200
    assert answer.content.startswith(start)
    assert answer.headers["content-disposition"] == f'attachment; filename="{id}.{kind}"'


def test_job_when_it_failed_then_its_problem_is_in_words(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    problem = {
        "code": "non_finite",
        "title": "Not finite",
        "detail": f"the score is NaN {HOSTILE}",
        "status": 422,
        "retryable": False,
    }
    served.backend.jobs.finish(id, attempt or 0, "failed", problem=problem)

    page = browser.get(f"/jobs/{id}").text

    assert "Not finite" in page
    assert "The score is NaN &lt;script&gt;" in page
    assert "would fail again" in page
    assert "data-events" not in page


def test_job_when_it_is_under_way_then_its_events_are_followed(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    assert "this job is next" in browser.get(f"/jobs/{id}").text
    attempt = served.backend.jobs.start(id, "cpu-0")
    served.backend.jobs.progress(id, attempt or 0, {"done": 5, "total": 10, "unit": "rows", "stage": "ablation", "eta": None})

    page = browser.get(f"/jobs/{id}").text

    assert f'data-events="/v1/jobs/{id}/events"' in page
    assert "Ablation: 5 of 10 rows" in page
    assert 'value="50"' in page


def test_job_when_cancelled_and_deleted_on_the_page_then_is_gone(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    assert browser.post(f"/jobs/{id}/delete").status_code == 409
    assert browser.post(f"/jobs/{id}/cancel").headers["location"] == f"/jobs/{id}"
    assert "The job was cancelled" in browser.get(f"/jobs/{id}").text

    assert browser.post(f"/jobs/{id}/delete").headers["location"] == "/"
    assert browser.get(f"/jobs/{id}").status_code == 404
