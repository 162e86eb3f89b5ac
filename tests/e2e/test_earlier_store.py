"""Workers of this version run the waiting job and inspection of an earlier version's store."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.support.documentation.redis_keys import undocumented
from tests.support.earlier_store import load
from tests.support.polling import wait_until
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings


@contextmanager
def worker(url: str, state: Path, queue: str) -> Iterator[None]:
    command = [sys.executable, "-m", "unitrank_worker", "--queue", queue, "--name", queue]
    process = subprocess.Popen(command, env={**os.environ, "REDIS_URL": url, "UNITRANK_STATE": str(state)})
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.mark.check
def test_store_when_an_earlier_version_wrote_it_then_its_job_and_its_inspection_run(
    connection: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    earlier = load(connection, tmp_path / "blobs")
    settings = Settings(state=tmp_path)
    blobs = BlobStore.of(settings)
    jobs, models, results = JobStore(connection), ModelStore(connection, blobs), ResultStore(connection, blobs, settings)
    with ExitStack() as workers:
        for queue in ("jobs", "inspections"):
            workers.enter_context(worker(redis_url, tmp_path, queue))
        wait_until(lambda: jobs.get(earlier.queued).ended and models.get("early").status != "inspecting", "both have run")
    before, after = jobs.get(earlier.done).result, jobs.get(earlier.queued)

    assert (after.status, after.problem, models.get("early").status) == ("succeeded", None, "ready")
    assert before is not None
    assert after.result is not None
    earlier_arrays, arrays = results.arrays(before), results.arrays(after.result)
    np.testing.assert_allclose(arrays["importance/gradient"], earlier_arrays["importance/gradient"], rtol=1e-6)
    assert undocumented(connection) == []
