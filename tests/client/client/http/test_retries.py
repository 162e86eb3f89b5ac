"""The client repeats requests that fail for a while, with pauses, and starts no second job."""

import asyncio
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

import unitrank
from tests.support.clock import Clock
from unitrank.client.endpoints import INSPECTION_SECONDS
from unitrank.client.http import transports
from unitrank.client.http.deadline import Deadline
from unitrank.client.http.operations import HttpRequest
from unitrank.client.http.retries import FIRST_SECONDS, LONGEST_SECONDS, Retries, retry_after
from unitrank.client.http.transports import GRACE_SECONDS, FlowRunner

JOB = {
    "id": "j",
    "status": "queued",
    "attempt": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "request": {"model": "m", "layer": "1", "dataset": "d", "methods": [{"name": "gradient"}]},
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
}
MODEL = {"name": "m", "digest": "sha256:" + "0" * 64, "bytes": 1, "status": "ready", "created_at": "2026-01-01T00:00:00Z"}
FULL = {"title": "Full", "status": 429, "detail": "later", "code": "queue_full", "request_id": "r"}


@pytest.fixture
def clock() -> Clock:
    """The clock of a test's clients: no test waits."""
    return Clock()


class Script:
    """Answers in turn: a status with headers, or an error to raise.

    `requests`: the received requests.
    """

    def __init__(self, *turns: Any, body: Any = JOB) -> None:
        self._turns: Iterator[Any] = iter(turns)
        self._body = body
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        turn = next(self._turns)
        if isinstance(turn, Exception):
            raise turn
        status, headers = turn if isinstance(turn, tuple) else (turn, {})
        body = self._body if status < 400 else FULL | {"status": status}
        return httpx.Response(status, content=json.dumps(body), headers=headers)

    def client(self, clock: Clock, retries: int = 4) -> unitrank.Client:
        return client_of(self, clock, retries)


def client_of(answer: Callable[[httpx.Request], httpx.Response], clock: Clock, retries: int = 4) -> unitrank.Client:
    transport = httpx.MockTransport(answer)
    return unitrank.Client("http://service", retries=retries, transport=transport, clock=clock, sleep=clock.sleep)


def test_submit_when_the_queue_is_full_then_waits_for_retry_after_and_is_one_job(clock: Clock) -> None:
    script = Script((429, {"Retry-After": "30"}), (503, {"Retry-After": "7"}), httpx.ReadError("gone"), 202)
    with script.client(clock) as client:
        job = client.jobs.submit(JOB["request"])

    assert job.id == "j"
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert len({request.content for request in script.requests}) == 1
    assert 30 <= clock.pauses[0] <= 30 + FIRST_SECONDS
    assert 7 <= clock.pauses[1] <= 7 + FIRST_SECONDS
    assert clock.pauses[2] <= 4 * FIRST_SECONDS


def test_call_when_every_attempt_is_refused_then_raises_the_last_problem(clock: Clock) -> None:
    script = Script(*[429] * 3)
    with script.client(clock, retries=2) as client, pytest.raises(unitrank.RateLimited) as caught:
        client.jobs.submit(JOB["request"])

    assert (caught.value.code, caught.value.exit_code, len(clock.pauses)) == ("queue_full", 3, 2)


def test_call_when_retry_after_is_too_long_then_raises_at_once(clock: Clock) -> None:
    with Script((503, {"Retry-After": "3600"})).client(clock) as client, pytest.raises(unitrank.ServiceError):
        client.methods()

    assert clock.pauses == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_call_when_the_same_request_would_be_refused_again_then_is_not_repeated(clock: Clock, status: int) -> None:
    script = Script(status)
    with script.client(clock) as client, pytest.raises(unitrank.Refused):
        client.jobs.get("j")

    assert len(script.requests) == 1


def test_upload_when_the_connection_breaks_then_all_of_the_file_is_sent_again(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"abc" * 1000)
    script = Script(httpx.WriteError("broken"), httpx.ConnectError("refused"), 200, body=MODEL)
    with script.client(clock) as client:
        client.models.put("m", tmp_path / "net.pt2")

    assert [request.read() for request in script.requests][-1] == b"abc" * 1000
    assert len(clock.pauses) == 2


def test_wait_when_the_service_restarts_then_continues(clock: Clock) -> None:
    script = Script(200, *[httpx.ConnectError("refused")] * 8, 200, body=JOB | {"status": "succeeded"})
    with script.client(clock) as client:
        assert client.jobs.get("j").wait().status == "succeeded"

    assert len(clock.pauses) == 8


def test_request_when_it_is_not_valid_http_then_is_sent_once_and_its_headers_are_hidden(clock: Clock) -> None:
    script = Script(httpx.LocalProtocolError("Illegal header value b'Bearer secret'"))
    with script.client(clock) as client, pytest.raises(unitrank.NotPossible) as caught:
        client.methods()

    assert (len(script.requests), clock.pauses) == (1, [])
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_wait_when_the_service_does_not_answer_then_raises_timeout_at_its_deadline(clock: Clock) -> None:
    with Script(202).client(clock) as client:
        job = client.jobs.submit(JOB["request"])
    away = unitrank.JobHandle(client.calls, FlowRunner(httpx.Client(base_url="http://127.0.0.1:1"), clock.sleep), job.state)
    with pytest.raises(unitrank.Timeout, match=r"http://service does not answer after 0\.7 s") as caught:
        away.wait(0.7)

    assert caught.value.exit_code == 124
    assert clock() == pytest.approx(0.7, abs=0.001)


def test_wait_when_retry_after_passes_its_deadline_then_nothing_is_sent_sooner(clock: Clock) -> None:
    script = Script(200, (503, {"Retry-After": "30"}))
    with script.client(clock) as client, pytest.raises(unitrank.Timeout, match="answers 503"):
        client.jobs.get("j").wait(0.3)

    assert len(script.requests) == 2
    assert clock() == pytest.approx(0.3, abs=0.001)


def test_upload_when_it_takes_longer_than_its_timeout_then_raises_timeout(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"abc")

    def slow(request: httpx.Request) -> httpx.Response:
        clock.advance(0.3)
        return httpx.Response(200, content=request.read())

    with client_of(slow, clock) as client:
        with pytest.raises(unitrank.Timeout, match="models/m was not uploaded"):
            client.models.put("m", tmp_path / "net.pt2", timeout=0)
        with pytest.raises(unitrank.Timeout, match="answers 503"):
            Script(503, 503).client(clock).datasets.put("d", x=[1], timeout=0.05)


class Slow(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Takes `seconds` for each chunk of a body, and answers after the last chunk."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self.pieces = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        for _ in request.stream:
            self._receive()
        return httpx.Response(200, json=MODEL)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for _ in request.stream:
            self._receive()
        return httpx.Response(200, json=MODEL)

    def _receive(self) -> None:
        self.pieces += 1
        self._clock.advance(self._seconds)


def put(kind: str, transport: Slow, clock: Clock, file: Path, timeout: float) -> str:
    """The status of a model that Client or AsyncClient has uploaded."""

    async def put_async() -> str:
        async with unitrank.AsyncClient("http://service", transport=transport, clock=clock) as client:
            return (await client.models.put("m", file, timeout=timeout)).status

    if kind == "async":
        return asyncio.run(put_async())
    with unitrank.Client("http://service", transport=transport, clock=clock) as client:
        return client.models.put("m", file, timeout=timeout).status


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_upload_when_its_deadline_passes_then_ends_after_the_current_piece(
    kind: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank.client.http.transports.CHUNK", 3)
    (tmp_path / "one").write_bytes(b"abc")
    (tmp_path / "two").write_bytes(b"abcdef")
    cut = Slow(0.3, clock)

    assert put(kind, Slow(0.3, clock), clock, tmp_path / "one", 0.2) == "ready"
    with pytest.raises(unitrank.Timeout, match="models/m was not uploaded"):
        put(kind, cut, clock, tmp_path / "two", 0.2)
    assert cut.pieces == 1


def test_upload_when_its_file_is_deleted_before_the_second_attempt_then_the_error_names_it(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"abc")

    def lost(request: httpx.Request) -> httpx.Response:
        (tmp_path / "net.pt2").unlink()
        raise httpx.ReadError("lost")

    with client_of(lost, clock) as client, pytest.raises(unitrank.NotPossible, match=r"net\.pt2 cannot be read: No such file"):
        client.models.put("m", tmp_path / "net.pt2")


def test_put_when_the_model_is_never_ready_then_the_timeout_covers_all_requests(clock: Clock) -> None:
    script = Script(202, *[200] * 99, body=MODEL | {"status": "inspecting"})
    with script.client(clock) as client, pytest.raises(unitrank.Timeout, match=r"models/m is still inspecting after 0\.4 s"):
        client.models.put("m", uri="s3://a/b", timeout=0.4)

    assert clock() < 0.4 + INSPECTION_SECONDS


def test_client_when_its_calls_share_a_deadline_then_each_call_ends_by_the_deadline(clock: Clock) -> None:
    with Script(*[503] * 99).client(clock, retries=9) as client:
        hasty = client.within(0.2)
        for call in (hasty.methods, hasty.models.list, lambda: hasty.jobs.get("j")):
            with pytest.raises(unitrank.Timeout):
                call()

    assert clock() == pytest.approx(0.2, abs=0.001)


def test_readiness_when_there_is_a_deadline_then_the_request_waits_no_longer(clock: Clock) -> None:
    script = Script(503)
    with script.client(clock) as client:
        assert not client.within(0.2).is_ready()

    assert script.requests[0].extensions["timeout"]["read"] <= 0.2 + GRACE_SECONDS


@pytest.mark.parametrize(
    ("limit", "seconds", "deadline", "expected"),
    [(60, None, None, 60), (60, 25.0, None, 25), (60, None, 3.0, 3 + GRACE_SECONDS), (1, None, 9.0, 1)],
)
def test_request_when_sent_then_its_timeout_is_at_most_the_remaining_time(
    limit: float, seconds: float | None, deadline: float | None, expected: float
) -> None:
    request = HttpRequest("GET", "/", timeout=seconds, deadline=Deadline(deadline, Clock()))
    timeout = transports._request_options(request, httpx.Timeout(limit))["timeout"]

    assert (timeout.read, timeout.connect) == (expected, min(expected, 5))
    # A POST has no deadline: without the answer the client would lose the job that the POST began.
    assert transports._request_options(HttpRequest("POST", "/", deadline=Deadline(0)), httpx.Timeout(60))["timeout"].read == 60


def test_pause_when_it_is_long_then_is_logged_as_a_warning_unless_quiet(
    clock: Clock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "unitrank")
    for quiet in (False, True):
        with Script((503, {"Retry-After": "30"}), 200, body=MODEL).client(clock) as client:
            client.datasets.put("m", x=[1], quiet=quiet, wait=False)
        with Script(200, (503, {"Retry-After": "30"}), 200, body=JOB | {"status": "succeeded"}).client(clock) as client:
            client.jobs.get("j").wait(quiet=quiet)

    assert [record.levelname for record in caplog.records if record.name == "unitrank"] == ["WARNING"] * 2 + ["INFO"] * 2
    assert "the service answered 503; next attempt in 30 s" in caplog.text


def test_async_client_when_the_service_is_busy_then_waits_for_retry_after(clock: Clock) -> None:
    script = Script((429, {"Retry-After": "2"}), httpx.ConnectError("refused"), 200)

    async def ask() -> str:
        transport = httpx.MockTransport(script)
        async with unitrank.AsyncClient("http://service", transport=transport, sleep=clock.sleep_async) as client:
            return (await client.jobs.get("j")).id

    assert asyncio.run(ask()) == "j"
    assert 2 <= clock.pauses[0] <= 2 + FIRST_SECONDS
    assert len(clock.pauses) == 2


def test_pauses_when_they_follow_each_other_then_double_up_to_a_bound_with_jitter() -> None:
    error = httpx.ConnectError("refused")
    longest = [Retries(20, lambda: 0.0).pause(attempt, error) for attempt in range(20)]
    shortest = [Retries(20, lambda: 1.0).pause(attempt, error) for attempt in range(20)]

    assert longest == [min(FIRST_SECONDS * 2**attempt, LONGEST_SECONDS) for attempt in range(20)]
    assert shortest == [pause / 2 for pause in longest if pause is not None]


def test_retry_after_when_it_is_a_number_or_a_date_then_gives_seconds() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True)
    seconds = retry_after(soon)

    assert [retry_after(None), retry_after("12"), retry_after("soon"), retry_after(past)] == [None, 12.0, None, 0.0]
    assert seconds is not None
    assert 50 < seconds <= 60
