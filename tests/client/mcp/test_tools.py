"""The tools of the MCP server: what an assistant reads, against answers of a fake service."""

import sys
from typing import Any

import httpx
import pytest

import unitrank
from unitrank.client.sync import Client
from unitrank.mcp.server import server
from unitrank.mcp.tools import Tools

REQUEST = {"model": "m", "layer": "1", "dataset": "d", "methods": [{"name": "gradient"}]}
JOB = {
    "id": "j",
    "status": "queued",
    "attempt": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "request": REQUEST,
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
}
FAILED = JOB | {"status": "failed", "problem": {"code": "non_finite", "title": "Failed", "detail": "row 3 is infinite"}}
RUNNING = JOB | {"status": "running", "progress": {"done": 1, "total": 4, "unit": "examples", "stage": "gradient", "eta": 9}}


def _tools(*answers: Any) -> tuple[Tools, list[httpx.Request]]:
    requests: list[httpx.Request] = []
    turns = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=next(turns))

    return Tools(Client("http://service", transport=httpx.MockTransport(answer))), requests


def test_list_when_the_service_is_empty_then_says_how_a_person_uploads() -> None:
    tools, _ = _tools(*[{"items": [], "next": None}] * 3)

    assert tools.list_models() == "The service has no models. A person uploads one with `unitrank put-model`."
    assert tools.list_datasets() == "The service has no datasets. A person uploads one with `unitrank put-dataset`."
    assert tools.list_jobs(status="failed") == "There are no such jobs."


def test_list_jobs_when_there_is_one_then_names_its_contents() -> None:
    tools, requests = _tools({"items": [RUNNING], "next": None})

    jobs = tools.list_jobs(limit=5, model="m")

    assert jobs == "job j: running, gradient, 1 of 4 examples, about 9 s left, model m, layer 1, dataset d"
    assert dict(requests[0].url.params) == {"limit": "5", "model": "m"}


def test_wait_when_the_job_failed_then_answers_the_reason() -> None:
    tools, _ = _tools(FAILED, FAILED)

    assert tools.wait_for_job("j") == "job j: failed (non_finite): row 3 is infinite"


def test_wait_when_the_time_is_over_then_answers_the_progress() -> None:
    tools, _ = _tools(*[RUNNING] * 9)

    assert tools.wait_for_job("j", seconds=0) == "job j: running, gradient, 1 of 4 examples, about 9 s left"


def test_start_when_options_repeat_a_field_then_the_argument_counts() -> None:
    tools, requests = _tools(JOB)

    state = tools.start_job("m", "1", "d", ["gradient"], {"by": "label"}, {"seed": 7, "model": "other"})

    assert state == "job j: queued"
    body = requests[0].content
    assert b'"seed":7' in body.replace(b" ", b"")
    assert b"other" not in body
    assert b"label" in body


def test_server_when_the_sdk_is_missing_then_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    with pytest.raises(unitrank.NotPossible, match=r"pip install 'unitrank\[mcp\]'"):
        server(_tools()[0].client, allow_jobs=False)
