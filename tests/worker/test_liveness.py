"""The command that checks a worker in a container."""

import socket
import time

import pytest
import redis

from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_worker.liveness import main


@pytest.fixture
def workers(connection: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> WorkerRegistry:
    monkeypatch.setenv("UNITRANK_REDIS_URL", redis_url)
    monkeypatch.setattr("unitrank_worker.liveness.configure", lambda form: None)
    return WorkerRegistry(connection)


def beat(workers: WorkerRegistry, name: str) -> None:
    workers.beat(WorkerEntry(name, "unitrank-jobs", "cpu", 1, name, time.time(), time.time()))


def test_liveness_when_the_worker_sends_heartbeats_then_succeeds(workers: WorkerRegistry) -> None:
    beat(workers, socket.gethostname())

    assert main() == 0


def test_liveness_when_only_another_worker_sends_heartbeats_then_fails(workers: WorkerRegistry) -> None:
    beat(workers, "another")

    assert main() == 1


def test_liveness_when_the_store_does_not_answer_then_succeeds(workers: WorkerRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITRANK_REDIS_URL", "redis://127.0.0.1:1/0")

    assert main() == 0
