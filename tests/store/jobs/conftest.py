"""Fixtures of the tests of jobs."""

import pytest
import redis

from unitrank_store.jobs.job_store import JobStore


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)
