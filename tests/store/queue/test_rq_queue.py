"""The queue: records wait for their turn, and their ids are listed until a worker starts them."""

import pytest
import redis
from rq.serializers import JSONSerializer

from tests.support.servers.redis_server import memory_limit
from unitrank_store.contents.models import ModelRecord
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.fair_queue import FairQueue
from unitrank_store.queue.rq_queue import (
    depth,
    enqueue_inspection,
    enqueue_job,
    positions,
    queue_of,
    taken_ids,
    transport_id,
    waiting_ids,
    withdraw,
)
from unitrank_store.queue.safe_job import SafeJob
from unitrank_store.settings import Settings
from unitrank_tables.sizes import MiB

SETTINGS = Settings(inspection_cpu=60, inspection_cpu_per_mib=30)


def model(digest: str, bytes: int = 0) -> ModelRecord:
    return ModelRecord("m", digest, bytes, "inspecting", 0.0, "1")


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


def test_jobs_when_waiting_then_each_has_its_position(connection: redis.Redis, jobs: JobStore) -> None:
    first, second, third = (jobs.create({}) for _ in range(3))
    urgent = jobs.create({"priority": "high"})
    for record in (first, second, third, urgent):
        enqueue_job(connection, record)

    assert list(positions(connection, [urgent, first, second, third]).values()) == [0, 1, 2, 3]
    assert depth(connection) == 4
    withdraw(connection, "job", second)
    withdraw(connection, "job", first)
    assert positions(connection, [urgent, first, second, third]) == {urgent.id: 0, third.id: 1}


def test_jobs_when_the_server_is_full_then_each_has_its_position(connection: redis.Redis, jobs: JobStore) -> None:
    first, second = jobs.create({}), jobs.create({})
    for record in (first, second):
        enqueue_job(connection, record)
    with memory_limit(connection, 1):
        places = positions(connection, [first, second])

    assert list(places.values()) == [0, 1]


def test_job_when_taken_by_a_worker_then_is_listed_as_taken(connection: redis.Redis, jobs: JobStore) -> None:
    record = jobs.create({})
    assert waiting_ids(connection, "job") == set()
    enqueue_job(connection, record)
    assert waiting_ids(connection, "job") == {transport_id(record.id, 0)}
    FairQueue.dequeue_any([queue_of(connection, "job")], None, connection, job_class=SafeJob, serializer=JSONSerializer)

    assert waiting_ids(connection, "job") == set()
    assert taken_ids(connection, "job") == {transport_id(record.id, 0)}


def test_model_when_enqueued_twice_then_is_inspected_once(connection: redis.Redis) -> None:
    digest = "sha256:" + "ab" * 32
    first, second = (enqueue_inspection(connection, model(digest), SETTINGS) for _ in range(2))

    assert first == second
    assert (depth(connection, "inspection"), first.timeout) == (1, 300.0)


def test_model_when_its_inspection_has_ended_then_can_be_inspected_again(connection: redis.Redis) -> None:
    digest = "sha256:" + "ab" * 32
    inspections = JobStore(connection, kind="inspection")
    inspections.cancel(enqueue_inspection(connection, model(digest), SETTINGS).id)

    assert enqueue_inspection(connection, model(digest), SETTINGS).status == "queued"


@pytest.mark.parametrize(("bytes", "seconds"), [(0, 60), (MiB // 2, 75), (10 * MiB, 360)])
def test_inspection_when_enqueued_then_its_seconds_of_cpu_time_grow_with_the_upload(
    connection: redis.Redis, bytes: int, seconds: float
) -> None:
    record = enqueue_inspection(connection, model("sha256:" + "ab" * 32, bytes), SETTINGS)

    assert record.cpu_seconds == seconds


def test_inspections_when_one_key_put_many_then_another_waits_for_one(connection: redis.Redis) -> None:
    for number in range(5):
        enqueue_inspection(connection, model(f"sha256:{number:064}"), SETTINGS, "ours")
    late = enqueue_inspection(connection, model(f"sha256:{9:064}"), SETTINGS, "theirs")

    assert positions(connection, [late], "inspection")[late.id] <= 1
