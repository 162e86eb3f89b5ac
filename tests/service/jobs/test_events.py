"""Server-sent events of a job."""

import asyncio
import re
import threading
from datetime import UTC, datetime

import httpx
import pytest

from tests.service.conftest import Served
from tests.service.jobs.conftest import PROBLEM, post
from tests.support.polling import wait_until
from unitrank_service.http.wait_limits import WaitLimits
from unitrank_service.jobs import job_resource
from unitrank_service.jobs.job_resource import event_lines


def test_events_when_the_key_reached_its_limit_meanwhile_then_end_without_an_error(client: httpx.Client, served: Served) -> None:
    record = served.backend.jobs.get(post(client)["id"])
    limits = WaitLimits(1)

    async def lines() -> list[bytes]:
        return [line async for line in event_lines(record, "0-0", "key", follower=served.backend.follower, wait_limits=limits)]

    with limits.hold("key"):
        assert asyncio.run(lines()) == []


def test_events_are_all_sent_and_end_with_the_job(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    served.backend.jobs.progress(id, attempt, {"done": 1, "total": 2, "unit": "examples", "stage": "s", "eta": None})
    end = threading.Timer(0.1, served.backend.jobs.finish, [id, attempt, "failed"], {"problem": PROBLEM})
    end.start()

    with client.stream("GET", f"/v1/jobs/{id}/events") as answer:
        lines = [line for line in answer.iter_lines() if line]

    end.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [line for line in lines if line.startswith("event")] == [
        "event: status",
        "event: status",
        "event: progress",
        "event: status",
    ]
    assert '"failed"' in lines[-1]
    assert all(datetime.fromisoformat(at).tzinfo == UTC for at in re.findall(r'"at":"(.*?)"', "".join(lines)))
    assert "".join(lines).count('"at":"') == 3


def test_events_after_an_invalid_id_begin_with_the_first(client: httpx.Client) -> None:
    id = post(client)["id"]
    client.post(f"/v1/jobs/{id}/cancel")
    whole = client.get(f"/v1/jobs/{id}/events").text

    for last in ("99999999999999999999-1", "x", "1-", "-1-1"):
        assert client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": last}).text == whole


def test_events_after_an_id_are_only_the_later_ones(client: httpx.Client) -> None:
    id = post(client)["id"]
    client.post(f"/v1/jobs/{id}/cancel")
    lines = [line for line in client.get(f"/v1/jobs/{id}/events").text.splitlines() if line.startswith("id: ")]

    rest = client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": lines[0].removeprefix("id: ")}).text
    nothing = client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": lines[-1].removeprefix("id: ")}).text

    assert [line for line in rest.splitlines() if line.startswith("id: ")] == lines[1:]
    assert nothing == ""


@pytest.mark.parametrize("busy", [False, True])
def test_events_when_the_key_is_revoked_then_end(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    id = post(client)["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    key, secret = served.backend.keys.create("Ada", ["read"])
    progress = {"done": 1, "total": 2, "unit": "examples", "stage": "s", "eta": None}
    assert 2 * job_resource.KEY_SECONDS < 5
    monkeypatch.setattr(job_resource, "KEY_SECONDS", 0.1)

    with client.stream("GET", f"/v1/jobs/{id}/events", headers={"Authorization": f"Bearer {secret}"}, timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("id: ")
        served.backend.keys.revoke(key.id)
        for number, _ in enumerate(lines):
            if busy and number < 100:
                served.backend.jobs.progress(id, attempt, progress | {"done": number})

    assert served.backend.jobs.get(id).status == "running"
    wait_until(lambda: not served.backend.wait_limits._waiting, "the stream has ended")


def test_events_when_none_come_then_comments_keep_the_connection_open(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = post(client)["id"]
    monkeypatch.setattr(job_resource, "KEY_SECONDS", 0.02)
    monkeypatch.setattr(job_resource, "KEEP_ALIVE", 0.05)

    with client.stream("GET", f"/v1/jobs/{id}/events", timeout=20) as answer:
        comments = 0
        for line in answer.iter_lines():
            comments += line == ": waiting"
            if comments == 2:
                served.backend.jobs.cancel(id)
    assert comments >= 2
