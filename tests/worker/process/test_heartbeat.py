"""A worker is heard as often as it says, and as soon as the store can hear it again."""

import time
from collections.abc import Iterator

import pytest
import redis

from tests.worker.process.conftest import until
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_worker.process import heartbeat as module
from unitrank_worker.process.heartbeat import Heartbeat

EVERY = 1000.0


class Register(WorkerRegistry):
    """Counts what it hears; at first it hears nothing, so often."""

    def __init__(self, connection: redis.Redis, deaf: int) -> None:
        super().__init__(connection)
        self.deaf = deaf
        self.beats = 0

    def beat(self, worker: WorkerEntry) -> None:
        self.deaf -= 1
        if self.deaf >= 0:
            raise redis.exceptions.ConnectionError("away")
        self.beats += 1


@pytest.fixture
def register(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Register]:
    monkeypatch.setattr(module, "AGAIN_SHARE", 1e-5)
    register = Register(connection, request.param)
    beats = Heartbeat(register, WorkerEntry("w", "q", "cpu", 1, "h", 0.0, 0.0), EVERY, lambda: 0)
    beats.start()
    yield register
    beats.stop()


def test_job_when_not_told_at_once_then_is_told_soon(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    register = WorkerRegistry(connection)
    monkeypatch.setattr(module, "AGAIN_SHARE", 1e-5)
    heartbeat = Heartbeat(register, WorkerEntry("w", "q", "cpu", 1, "h", 0.0, 0.0), EVERY, lambda: 0)
    heartbeat.start()
    try:
        heartbeat.working_on("job", [], at_once=False)

        until(lambda: [entry.job for entry in register.list()] == ["job"], "the register names the job")
    finally:
        heartbeat.stop()


@pytest.mark.parametrize("register", [3], indirect=True)
def test_beat_when_lost_then_is_made_up_for_at_once_and_only_once(register: Register) -> None:
    until(lambda: register.beats == 1, "it is heard")
    time.sleep(0.1)

    assert register.beats == 1


@pytest.mark.parametrize("register", [0], indirect=True)
@pytest.mark.parametrize("jump", [2 * EVERY, -2 * EVERY])
def test_beat_when_the_machine_has_slept_then_comes_at_once(
    register: Register, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    assert register.beats == 1
    clock = time.time
    monkeypatch.setattr(module.time, "time", lambda: clock() + jump)

    until(lambda: register.beats == 2, "it is heard again")
