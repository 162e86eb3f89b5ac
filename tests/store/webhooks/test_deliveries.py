"""Deliveries: each becomes due when its job ends, and one process at a time takes it."""

import pytest
import redis

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis import keyspace
from unitrank_store.webhooks.deliveries import LEASE_SECONDS, AttemptRecord, DeliveryRecord, DeliveryStore

NOW = 1000.0


@pytest.fixture
def deliveries(connection: redis.Redis) -> DeliveryStore:
    return DeliveryStore(connection, most=2)


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


def add(connection: redis.Redis, deliveries: DeliveryStore, job: str, owner: str = "") -> DeliveryRecord | None:
    """Add a delivery to a job and return it; None if the job does not exist."""
    delivery = DeliveryRecord.of(owner, "https://example.org/hook")
    with connection.pipeline() as pipeline:
        deliveries.add(job, delivery, pipeline)
        (added,) = pipeline.execute()
    return delivery if added else None


def ended(connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore, owner: str = "") -> str:
    """Create a job that has ended, with a due delivery, and return its id."""
    id = jobs.create({}).id
    add(connection, deliveries, id, owner)
    jobs.cancel(id)
    return id


def test_delivery_when_its_job_ends_then_becomes_due(connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore) -> None:
    id = jobs.create({}).id
    delivery = add(connection, deliveries, id)
    assert deliveries.take(NOW) is None
    jobs.cancel(id)
    due = deliveries.take(NOW)

    assert due is not None
    assert (due.job, due.delivery) == (id, delivery)
    assert 0 < connection.ttl(keyspace.deliveries("job", id)) <= jobs.failure_ttl


def test_delivery_when_its_job_has_ended_before_then_is_due_at_once(
    connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore
) -> None:
    id = jobs.create({}).id
    jobs.cancel(id)
    delivery = add(connection, deliveries, id)
    due = deliveries.take(NOW)

    assert due is not None
    assert due.delivery == delivery
    assert deliveries.count(id) == 1


def test_delivery_when_there_is_no_such_job_then_is_not_added(connection: redis.Redis, deliveries: DeliveryStore) -> None:
    assert add(connection, deliveries, "nothing") is None
    assert deliveries.of("nothing") == []


def test_delivery_when_taken_then_no_other_process_has_it_until_the_lease_is_over(
    connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore
) -> None:
    ended(connection, deliveries, jobs)
    first = deliveries.take(NOW)

    assert first is not None
    assert deliveries.take(NOW + LEASE_SECONDS - 1) is None
    assert deliveries.take(NOW + LEASE_SECONDS) == first


def test_delivery_when_settled_then_is_due_again_at_its_time_or_never(
    connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore
) -> None:
    id = ended(connection, deliveries, jobs)
    due = deliveries.take(NOW)
    assert due is not None
    assert due.delivery is not None
    again = due.delivery.tried(AttemptRecord(at=NOW, status=503, error=None, seconds=0.1), "pending", NOW + 5.5)
    assert deliveries.settle(due, again)
    assert deliveries.take(NOW + 5) is None
    due = deliveries.take(NOW + 5.5)
    assert due is not None
    assert due.delivery == again
    delivered = again.tried(AttemptRecord(at=NOW, status=200, error=None, seconds=0.1), "delivered", None)
    assert deliveries.settle(due, delivered)

    assert deliveries.take(NOW + 10**6) is None
    assert deliveries.of(id) == [delivered]


def test_delivery_when_another_process_settled_it_first_then_does_not_change(
    connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore
) -> None:
    id = ended(connection, deliveries, jobs)
    slow = deliveries.take(NOW)
    fast = deliveries.take(NOW + LEASE_SECONDS)
    assert slow is not None
    assert fast is not None
    assert fast.delivery is not None
    delivered = fast.delivery.tried(AttemptRecord(at=NOW, status=200, error=None, seconds=0.1), "delivered", None)
    assert deliveries.settle(fast, delivered)

    assert not deliveries.settle(slow, None)
    assert deliveries.of(id) == [delivered]


def test_delivery_when_its_job_was_deleted_then_is_gone(connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore) -> None:
    jobs.delete(ended(connection, deliveries, jobs))
    due = deliveries.take(NOW)

    assert due is not None
    assert due.delivery is None
    assert not deliveries.settle(due, None)
    assert deliveries.take(NOW + 10**6) is None


def test_owners_when_one_has_many_deliveries_then_take_turns_and_have_two_under_way_at_most(
    connection: redis.Redis, deliveries: DeliveryStore, jobs: JobStore
) -> None:
    for owner in ("a", "a", "a", "b"):
        ended(connection, deliveries, jobs, owner)
    leased = [deliveries.take(NOW + number) for number in range(4)]

    assert [due.delivery.owner for due in leased if due is not None and due.delivery is not None] == ["a", "b", "a"]
    assert leased[3] is None
