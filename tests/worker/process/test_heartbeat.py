"""Heartbeats come in the promised interval, and soon after an outage of the store."""

import pytest
import redis

from tests.support.clock import Clock
from tests.support.polling import wait_until
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_worker.children.pool import Load
from unitrank_worker.process import heartbeat as module
from unitrank_worker.process.heartbeat import Heartbeat

EVERY = 1000.0
NOW = 1e9


class Register(WorkerRegistry):
    """A register that counts heartbeats; the first ones fail."""

    def __init__(self, connection: redis.Redis, deaf: int) -> None:
        super().__init__(connection)
        self.deaf = deaf
        self.beats = 0

    def beat(self, worker: WorkerEntry) -> None:
        self.deaf -= 1
        if self.deaf >= 0:
            raise redis.exceptions.ConnectionError("away")
        self.beats += 1


def test_job_when_not_sent_at_once_then_is_sent_soon(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    register = WorkerRegistry(connection)
    monkeypatch.setattr(module, "AGAIN_SHARE", 1e-5)
    heartbeat = Heartbeat(register, WorkerEntry("w", "q", "cpu", 1, "h", 0.0, 0.0), EVERY, lambda: Load(2, 100))
    heartbeat.start("no Landlock", 5)
    try:
        heartbeat.working_on("job", {"default": ["mnist"]}, at_once=False)

        wait_until(lambda: [entry.job for entry in register.list()] == ["job"], "the register names the job")
        (entry,) = register.list()
        assert (entry.unconfined, entry.device_memory) == ("no Landlock", 5)
        assert (entry.models, entry.children, entry.memory) == ({"default": ["mnist"]}, 2, 100)
    finally:
        heartbeat.stop()


def beating(register: Register, clock: Clock) -> Heartbeat:
    return Heartbeat(register, WorkerEntry("w", "q", "cpu", 1, "h", 0.0, 0.0), EVERY, lambda: Load(2, 100), clock)


def test_heartbeat_when_lost_then_is_sent_again_soon_and_once(connection: redis.Redis) -> None:
    register = Register(connection, deaf=3)
    heartbeat = beating(register, Clock(NOW))
    for _ in range(10):
        heartbeat.beat_if_due()

    assert register.beats == 1


def test_heartbeat_when_its_time_has_come_then_is_sent_once(connection: redis.Redis) -> None:
    register, clock = Register(connection, deaf=0), Clock(NOW)
    heartbeat = beating(register, clock)
    beats = []
    for _ in range(5):
        heartbeat.beat_if_due()
        beats.append(register.beats)
        clock.advance(EVERY / 2)

    assert beats == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("jump", [2 * EVERY, -2 * EVERY])
def test_heartbeat_when_the_machine_has_slept_or_its_clock_was_set_then_comes_at_once(connection: redis.Redis, jump: float) -> None:
    register, clock = Register(connection, deaf=0), Clock(NOW)
    heartbeat = beating(register, clock)
    heartbeat.beat_if_due()
    clock.advance(jump)
    heartbeat.beat_if_due()

    assert register.beats == 2
