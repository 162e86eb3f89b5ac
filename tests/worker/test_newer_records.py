"""Records that only a newer worker can run: a worker leaves them, and fails them after a time."""

from pathlib import Path

import pytest
import redis

from tests.support.clock import Clock
from tests.worker.test_tasks import REQUEST, stores_of
from unitrank_schemas.base import Json
from unitrank_schemas.models import INSPECTION
from unitrank_store.jobs.record import FORMAT, encode
from unitrank_store.queue.rq_queue import enqueue_inspection
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings
from unitrank_worker import tasks
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.newer_records import PATIENCE, NewerRecords
from unitrank_worker.problem import WORKER_TOO_OLD


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(connection: redis.Redis, tmp_path: Path, clock: Clock) -> Stores:
    stores = stores_of(connection, tmp_path, "job")
    stores.newer_records = NewerRecords(clock)
    return stores


def of_newer_service(stores: Stores, format: int, options: list[str]) -> str:
    """A record with fields that no version has yet; returns its id."""
    id = stores.jobs.create(REQUEST, {"options": options}).id
    stores.connection.hset(keyspace.record("job", id), mapping=encode({"format": format, "colour": "blue"}))
    return id


@pytest.mark.parametrize(
    ("format", "options"), [(FORMAT + 1, []), (FORMAT, ["methods.name=telepathy"]), (FORMAT, ["layer", "execution.nodes"])]
)
def test_record_when_only_a_newer_worker_can_run_it_then_stays_queued(stores: Stores, format: int, options: list[str]) -> None:
    id = of_newer_service(stores, format, options)

    assert tasks.tenant_of(stores, id, "w") is None
    assert stores.jobs.get(id).status == "queued"


def test_record_when_no_newer_worker_takes_it_then_fails_with_the_reason(stores: Stores, clock: Clock) -> None:
    id = of_newer_service(stores, FORMAT + 1, [])
    tasks.tenant_of(stores, id, "w")
    clock.advance(PATIENCE - 1)
    tasks.tenant_of(stores, id, "w")
    assert stores.jobs.get(id).status == "queued"
    clock.advance(1)
    tasks.tenant_of(stores, id, "w")
    record = stores.jobs.get(id)

    assert (record.status, record.problem) == ("failed", WORKER_TOO_OLD)


def test_record_when_it_has_unknown_fields_of_the_same_version_then_is_run(stores: Stores) -> None:
    id = of_newer_service(stores, FORMAT, ["layer", "methods.name=conductance"])

    assert tasks.tenant_of(stores, id, "w") == "default"


def test_record_when_an_older_service_wrote_no_version_then_is_run(stores: Stores) -> None:
    id = stores.jobs.create(REQUEST).id
    stores.connection.hdel(keyspace.record("job", id), "format")
    resolved: Json = stores.jobs.get(id).resolved

    assert (stores.jobs.get(id).format, resolved) == (1, {})
    assert tasks.tenant_of(stores, id, "w") == "default"


@pytest.mark.parametrize(("ahead", "tenant"), [(1, None), (0, "default"), (-1, "default")])
def test_inspection_when_it_needs_a_newer_version_then_waits_for_it(
    connection: redis.Redis, tmp_path: Path, clock: Clock, ahead: int, tenant: str | None
) -> None:
    stores = stores_of(connection, tmp_path, "inspection")
    stores.newer_records = NewerRecords(clock)
    with stores.blobs.writer() as writer:
        writer.write(b"archive")
    model = stores.models.begin("net", writer.digest, 7, str(int(INSPECTION) + ahead)).record
    id = enqueue_inspection(connection, model, Settings()).id
    assert tasks.tenant_of(stores, id, "w") == tenant
    clock.advance(2 * PATIENCE)
    tasks.tenant_of(stores, id, "w")

    assert stores.jobs.get(id).status == "queued"
