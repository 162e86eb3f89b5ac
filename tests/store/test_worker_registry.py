"""The registry of workers: entries are listed, removed, and expire."""

import redis

from unitrank_store.redis import keyspace
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry


def worker(name: str, queue: str = "jobs") -> WorkerEntry:
    return WorkerEntry(name, queue, "cpu", pid=1, host="h", started_at=1.0, seen_at=1.0, models={"default": ["mnist"]})


def test_worker_when_it_beats_then_is_listed_with_its_entry(connection: redis.Redis) -> None:
    workers = WorkerRegistry(connection)
    workers.beat(worker("b"))
    workers.beat(worker("a", queue="inspections"))

    listed = workers.list()
    assert [entry.name for entry in listed] == ["a", "b"]
    assert (listed[0].models, listed[0].seen_at > 1.0) == ({"default": ["mnist"]}, True)
    assert [entry.name for entry in workers.list("jobs")] == ["b"]


def test_worker_when_it_leaves_then_is_not_listed(connection: redis.Redis) -> None:
    workers = WorkerRegistry(connection)
    workers.beat(worker("a"))
    workers.leave("a")

    assert workers.list() == []


def test_worker_when_silent_then_is_not_listed_and_its_name_is_deleted(connection: redis.Redis) -> None:
    workers = WorkerRegistry(connection, lost_after=20)
    workers.beat(worker("a"))
    assert 0 < connection.pttl(keyspace.worker("a")) <= 20_000
    connection.delete(keyspace.worker("a"))

    assert workers.list() == []
    assert not connection.exists(keyspace.workers())
