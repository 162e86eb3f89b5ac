"""Lists of records: in pages, narrowed, and without the records that have expired."""

import pytest
import redis

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis import keyspace


def test_list_when_asked_in_pages_then_gives_all_newest_first(jobs: JobStore) -> None:
    ids = [jobs.create({}, id=f"{number:03}").id for number in range(7)]
    first, after = jobs.list(3)
    second, after_second = jobs.list(3, after)
    third, end = jobs.list(3, after_second)

    assert [record.id for record in (*first, *second, *third)] == ids[::-1]
    assert end is None


def test_list_when_requests_are_large_then_a_page_has_fewer(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitrank_store.jobs.indexes.PAGE_BYTES", 1000)
    sizes = (10, 10, 600, 600, 2000, 10)
    ids = [jobs.create({"x": "y" * size}, id=f"{number:03}").id for number, size in enumerate(sizes)]
    pages: list[list[str]] = []
    after = None
    while not pages or after is not None:
        page, after = jobs.list(3, after)
        pages.append([record.id for record in page])

    assert [id for page in pages for id in page] == ids[::-1]
    assert [len(page) for page in pages] == [2, 2, 2]


def test_list_when_narrowed_then_gives_only_what_fits(jobs: JobStore) -> None:
    mnist = [jobs.create({"model": model}).id for model in ("mnist", "mnist@sha256:ab")]
    another = jobs.create({"model": "other"}).id
    jobs.cancel(mnist[0])
    jobs.cancel(another)

    assert {record.id for record in jobs.list(model="mnist")[0]} == set(mnist)
    assert {record.id for record in jobs.list(status="cancelled")[0]} == {mnist[0], another}
    assert [record.id for record in jobs.list(status="cancelled", model="mnist")[0]] == [mnist[0]]


def test_list_when_records_have_expired_then_forgets_them(jobs: JobStore, connection: redis.Redis) -> None:
    ids = [jobs.create({"model": "m"}).id for _ in range(3)]
    for id in ids:
        jobs.cancel(id)
    connection.delete(keyspace.record("job", ids[1]))

    assert len(jobs.list(1)[0]) == 1
    assert {record.id for record in jobs.list()[0]} == {ids[0], ids[2]}
    assert jobs.forget_expired() == 1
    assert connection.zcard(keyspace.records_by_model("job", "default", "m")) == 2
    assert jobs.count("cancelled") == 2


def test_ids_when_most_have_expired_then_are_all_forgotten_in_one_call(jobs: JobStore, connection: redis.Redis) -> None:
    ids = [jobs.create({}).id for _ in range(40)]
    for id in ids:
        jobs.cancel(id)
    connection.delete(*(keyspace.record("job", id) for id in ids[:35]))

    assert jobs.forget_expired(10) == 35
    assert jobs.count("cancelled") == 5


def test_inspections_when_expired_then_are_forgotten_whatever_their_digest_is(connection: redis.Redis) -> None:
    inspections = JobStore(connection, kind="inspection")
    for id in ("a", "b", "c"):
        inspections.create({}, id=id)
        inspections.finish(id, inspections.start(id, "w") or 0, "succeeded")
    connection.delete(keyspace.record("inspection", "c"))
    forgotten = [inspections.forget_expired(1) for _ in range(100)]

    assert (max(forgotten), forgotten[-1], inspections.count("succeeded")) == (1, 0, 2)
