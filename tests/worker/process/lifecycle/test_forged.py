"""Entries in the store that no Unitrank process wrote do not run and stop no process."""

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from rq import Callback, Queue
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.serializers import JSONSerializer, PickleSerializer

from tests.support.polling import wait_until
from tests.worker.process.conftest import REQUEST, Bench
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import INSPECTIONS, JOBS, push, transport_id
from unitrank_store.queue.safe_job import FUNCTIONS, SafeJob
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings

pytestmark = pytest.mark.check

JUNK = [b"", b"junk", b"\xff\xfe\x00", b"a" * 100_000, b"-1", b"[]", b'{"x":1}', pickle.dumps(print)]


class Evil:
    """Writes a file if it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (self._marker.write_text, ("loaded",))


def functions(connection: redis.Redis, marker: Path) -> None:
    for serializer in (JSONSerializer, PickleSerializer):
        queue = Queue(JOBS, connection=connection, serializer=serializer)
        for function in ("os.system", "subprocess.call", "tasks.os.system", "tasks.run_job", FUNCTIONS["job"]):
            queue.enqueue_call(function, args=[f"touch {marker}"], retry=None)


def callbacks(connection: redis.Redis, marker: Path) -> None:
    callback = Callback("os.system")
    queue = Queue(JOBS, connection=connection, serializer=JSONSerializer)
    for arguments in ([f"touch {marker}"], [], [1, 2]):
        queue.enqueue_call(FUNCTIONS["job"], args=arguments, on_success=callback, on_failure=callback, on_stopped=callback)


def pickles(connection: redis.Redis, marker: Path) -> None:
    evil = pickle.dumps(("x", Evil(marker), (), {}))
    queue = Queue(JOBS, connection=connection, serializer=JSONSerializer)
    for field in ("data", "meta", "result", "exc_info", "created_at", "timeout", "status", "dependency_ids", "group_id"):
        forged = queue.enqueue_call(FUNCTIONS["job"], args=["x"])
        connection.hset(forged.key, field, evil)


def ids(connection: redis.Redis, marker: Path) -> None:
    for queue in (JOBS, INSPECTIONS):
        connection.rpush(keyspace.rq_queue(queue), *JUNK)
        for entry in JUNK:
            connection.set(SafeJob.key_for(entry.decode(errors="replace")), b"no hash")


def lines(connection: redis.Redis, marker: Path) -> None:
    for queue in (JOBS, INSPECTIONS):
        connection.rpush(keyspace.line(queue, "", "normal"), *JUNK)
        connection.zadd(keyspace.owners_in_line(queue), dict.fromkeys(JUNK, -1))
        connection.zadd(keyspace.owners_in_line(queue), {"": -2})


def lives(connection: redis.Redis, marker: Path) -> None:
    for kind in ("job", "inspection"):
        connection.sadd(keyspace.live_records(kind), *JUNK)
        connection.zadd(keyspace.records_by_status(kind, "succeeded"), dict.fromkeys(JUNK, 0))
        for number, entry in enumerate(JUNK):
            connection.hset(keyspace.record(kind, f"junk-{number}"), mapping={"status": entry, "attempt": entry, "version": entry})
            connection.sadd(keyspace.live_records(kind), f"junk-{number}")


def workers(connection: redis.Redis, marker: Path) -> None:
    connection.sadd(keyspace.workers(), *JUNK, *(f"junk-{number}" for number in range(len(JUNK))))
    for number, entry in enumerate(JUNK):
        connection.set(keyspace.worker(f"junk-{number}"), entry)


def registries(connection: redis.Redis, marker: Path) -> None:
    for registry in ("wip", "failed", "finished"):
        connection.zadd(f"rq:{registry}:{JOBS}", dict.fromkeys(JUNK, 1))
    connection.sadd("rq:workers", *JUNK)
    connection.rpush(f"rq:queue:{JOBS}:intermediate", *JUNK)


def leftovers(connection: redis.Redis, marker: Path) -> None:
    connection.hset(keyspace.unpublished(), mapping={f"junk-{number}": entry for number, entry in enumerate(JUNK)})
    connection.zadd(keyspace.result_blobs(), dict.fromkeys(JUNK, 1))
    connection.set(keyspace.reaper_lock(), b"junk", px=100)


def types(connection: redis.Redis, marker: Path) -> None:
    keys = [keyspace.rq_queue(JOBS), f"rq:queue:{JOBS}:intermediate", keyspace.workers(), keyspace.counters()]
    keys += [
        keyspace.owners_in_line(JOBS),
        keyspace.turns(JOBS),
        keyspace.arrivals(JOBS),
        keyspace.last_turn(JOBS),
        keyspace.reaper_lock(),
    ]
    for key in keys:
        connection.set(key, "junk")
    connection.set(keyspace.line(JOBS, "x", "high"), "junk")


def line_of_another_type(connection: redis.Redis, marker: Path) -> None:
    connection.set(keyspace.line(JOBS, "x", "high"), "junk")
    connection.zadd(keyspace.owners_in_line(JOBS), {"x": -1})


def suspension(connection: redis.Redis, marker: Path) -> None:
    connection.set("rq:suspended", 1)


@pytest.mark.parametrize(
    "forge",
    [functions, callbacks, pickles, ids, lines, lives, workers, registries, leftovers, types, line_of_another_type, suspension],
)
def test_store_when_it_holds_forged_entries_then_none_of_them_runs_and_jobs_go_on(
    bench: Bench, tmp_path: Path, forge: Callable[[redis.Redis, Path], None]
) -> None:
    bench.start()
    marker = tmp_path / "marker"
    reaper = Reaper(bench.connection, Settings(heartbeat=0.2, heartbeat_grace=0.5, state=bench.state))
    forge(bench.connection, marker)
    lost = bench.jobs.create(REQUEST, bench.resolved)
    wait_until(lambda: _swept(reaper) and bench.jobs.get(lost.id).ended, "the job without a queue entry runs")

    assert bench.status(lost.id) == "succeeded"
    assert bench.ended(bench.submit()).status == "succeeded"
    assert not marker.exists()
    assert bench.workers[0].process.poll() is None


def test_inspection_when_its_record_names_no_model_then_fails_and_its_worker_lives_on(bench: Bench) -> None:
    worker = bench.start(queue="inspections")
    inspections = JobStore(bench.connection, kind="inspection")
    record = inspections.create({}, id="forged")
    push(bench.connection, inspections, record)
    wait_until(lambda: inspections.get(record.id).ended, "the inspection ends")

    assert (inspections.get(record.id).problem or {})["code"] == "worker_lost"
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    "command", ["shutdown", *(pytest.param(name, marks=pytest.mark.check) for name in ("kill-horse", "stop-job"))]
)
def test_worker_when_it_gets_a_command_over_a_channel_then_ignores_it(bench: Bench, command: str) -> None:
    worker = bench.start()
    child = worker.child()
    id = bench.submit(["report", 1])
    bench.running(id)
    (name,) = bench.connection.smembers("rq:workers")
    name = name.removeprefix(b"rq:worker:").decode()
    message = {"command": command, "job_id": transport_id(id, 0)}
    bench.connection.publish(PUBSUB_CHANNEL_TEMPLATE % name, json.dumps(message))
    bench.connection.publish(PUBSUB_CHANNEL_TEMPLATE % name, b"junk")

    assert (bench.ended(id).status, bench.ended(id).attempt) == ("succeeded", 1)
    assert bench.ended(bench.submit()).status == "succeeded"
    assert worker.child() == child
    assert worker.process.poll() is None


def _swept(reaper: Reaper) -> bool:
    """One sweep, as in the thread, which goes on after every error."""
    with suppress(Exception):
        reaper.sweep()
    return True
