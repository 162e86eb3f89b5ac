"""The worker between an owner's child, which a model may control, and the driver."""

import socket
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from unitrank_worker.children.handle import ChildHandle
from unitrank_worker.distributed.cluster import DividedJob, DriverProcess
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.process.channel import Channel, Closed, Message

PASS = {"pass": "attribution", "ranges": 3}


class ScriptedDriver(DriverProcess):
    """A driver whose other end of the channel is in this test."""

    def __init__(self) -> None:
        super().__init__("auto", "m:e", "cpu", result_bytes=1000, log_format="json")
        self.ends: list[socket.socket] = []

    def start(self) -> None:
        here, there = socket.socketpair()
        self.ends += [here, there]
        self._channel = Channel(here, payload_bytes=self._payload_bytes)
        self.there = Channel(there, payload_bytes=1 << 30)


class ScriptedChild:
    """A child that sends these messages, and notes what it gets."""

    def __init__(self, messages: Sequence[dict[str, Any]]) -> None:
        self._messages = [Message(content) for content in messages]
        self.received: list[dict[str, Any]] = []

    def receive(self, seconds: float) -> Message | None:
        return self._messages.pop(0) if self._messages else None

    def send(self, content: dict[str, Any], payload: bytes = b"") -> None:
        self.received.append(content)


@pytest.fixture
def driver() -> Iterator[ScriptedDriver]:
    driver = ScriptedDriver()
    yield driver
    for end in driver.ends:
        end.close()


@pytest.fixture
def job(driver: ScriptedDriver) -> DividedJob:
    """A job that has begun."""
    job = DividedJob(driver, JobHead("j.1", "t", {}))
    received = driver.there.receive(1)
    assert received is not None
    assert "begin" in received.content
    return job


def took(job: DividedJob, *messages: dict[str, Any]) -> ScriptedChild:
    """The child after the worker took its messages."""
    child = ScriptedChild(messages)
    for _ in messages:
        # cast: the job only sends to its child and receives from it.
        job.receive(cast(ChildHandle, child), 0)
    return child


@pytest.mark.parametrize(
    "message",
    [
        {"pass": 3, "ranges": 1},
        {"pass": "x" * 257, "ranges": 1},
        {"pass": "attribution"},
        {"pass": "attribution", "ranges": 0},
        {"pass": "attribution", "ranges": True},
        {"pass": "attribution", "ranges": 1.5},
        {"pass": "attribution", "ranges": 10_000_001},
        {"pass": ["attribution"], "ranges": [1]},
    ],
    ids=str,
)
def test_pass_when_malformed_then_the_child_is_lost_and_the_driver_gets_nothing(
    driver: ScriptedDriver, job: DividedJob, message: dict[str, Any]
) -> None:
    with pytest.raises(Closed, match="malformed pass"):
        took(job, message)
    assert driver.there.receive(0) is None


def test_pass_when_another_one_runs_then_the_child_is_lost(driver: ScriptedDriver, job: DividedJob) -> None:
    with pytest.raises(Closed, match="within a pass"):
        took(job, PASS, PASS)
    sent = driver.there.receive(0)
    assert sent is not None
    assert sent.content == {"ask": PASS}
    assert driver.there.receive(0) is None


def test_pass_when_the_one_before_has_ended_then_reaches_the_driver(driver: ScriptedDriver, job: DividedJob) -> None:
    took(job, PASS)
    driver.there.send({"shards": {"done": 1, "total": 3}})
    driver.there.send({"joined": 3}, b"sums")
    child = took(job, PASS)

    assert child.received == [{"shards": {"done": 1, "total": 3}}, {"joined": 3}]
    assert [driver.there.receive(0), driver.there.receive(0)] == [Message({"ask": PASS}), Message({"ask": PASS})]


def test_driver_when_its_result_is_too_large_then_the_next_job_gets_another_driver(driver: ScriptedDriver, job: DividedJob) -> None:
    took(job, PASS)
    driver.there.send({"joined": 3, "bytes": 1 << 29})

    with pytest.raises(Closed):
        took(job, {"progress": None})
    with pytest.raises(Closed, match="there is no driver"):
        driver.send({"over": "j.1"})
    job.end()
    following = DividedJob(driver, JobHead("k.1", "t", {}))
    driver.there.send({"begun": 2, "key": "k.1"})
    assert following.decision(1) is not None
