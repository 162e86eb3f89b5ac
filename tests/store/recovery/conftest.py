"""Fixtures: a reaper and a garbage collection with a clock that the test sets."""

from pathlib import Path

import pytest
import redis

from tests.support.clock import Clock
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.recovery.garbage import GarbageCollection
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.settings import Settings

SETTINGS = Settings(heartbeat=2, heartbeat_grace=5, reaper_interval=5)
LASTING = 10.0
"""Seconds after which every finding of a sweep counts."""


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return SETTINGS.model_copy(update={"state": tmp_path})


@pytest.fixture
def reaper(connection: redis.Redis, settings: Settings, clock: Clock) -> Reaper:
    return Reaper(connection, settings, clock)


@pytest.fixture
def garbage(connection: redis.Redis, settings: Settings, clock: Clock) -> GarbageCollection:
    return GarbageCollection(connection, settings, clock)


def uploaded(settings: Settings, content: bytes = b"model") -> str:
    """Store a content in the blob store, and return its digest."""
    with BlobStore.of(settings).writer() as writer:
        writer.write(content)
    return writer.digest
