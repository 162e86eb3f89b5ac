"""Reservations: the bytes of a result are given back once."""

import redis

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.reservations import reserved


def test_bytes_when_reserved_then_are_given_back_once_at_the_end(jobs: JobStore, connection: redis.Redis) -> None:
    first, second, third = (jobs.create({}, reserves=100).id for _ in range(3))
    jobs.cancel(first)
    jobs.cancel(first)
    attempt = jobs.start(second, "w") or 0
    jobs.requeue(second, attempt)
    assert reserved(connection) == 200
    jobs.finish(second, jobs.start(second, "w") or 0, "failed")
    jobs.finish(third, jobs.start(third, "w") or 0, "succeeded", result={})

    assert reserved(connection) == 0
