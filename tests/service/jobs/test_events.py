"""Server-sent events of a job."""

import asyncio
import re
import threading
from datetime import UTC, datetime

import httpx

from tests.service.conftest import Served
from tests.service.jobs.conftest import PROBLEM, post
from unitrank_service.http.wait_limits import WaitLimits
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
