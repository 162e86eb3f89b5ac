"""The findings of a chaos run."""

import pytest
import redis
from benchmarks.chaos.clients import Answers
from benchmarks.chaos.findings import _reasons
from benchmarks.chaos.orders import Order

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord


def after(connection: redis.Redis, *lost: bool) -> JobRecord:
    """A job whose attempts ended without a result. `lost`: for each one, whether it was a loss."""
    jobs = JobStore(connection)
    id = jobs.create({"metadata": {"number": 0}}).id
    for number, is_loss in enumerate(lost, 1):
        assert jobs.start(id, "w") == number
        jobs.requeue(id, number, lost=is_loss)
    return jobs.get(id)


@pytest.mark.parametrize("lost", [(True, True), (False, True, True), (True, False, False)])
def test_job_when_it_never_runs_after_two_losses_then_is_no_finding(connection: redis.Redis, lost: tuple[bool, ...]) -> None:
    order = Order(0, "quick", 0.0, {}, key=None, posts=1, cancel=None, fresh=False)

    assert list(_reasons([after(connection, *lost)], [order], Answers())) == []
