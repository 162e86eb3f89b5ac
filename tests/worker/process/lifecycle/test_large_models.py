"""Two real workers with different memory: a large model runs where it fits, or fails clearly."""

import pytest

from tests.worker.process.conftest import Bench
from unitrank_store.contents.models import ModelStore
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_tables.sizes import GiB

PARAMETERS = 500_000_000
"""They need 2.4 GB."""


@pytest.mark.check
def test_large_model_when_workers_differ_then_runs_at_the_larger_one_or_says_what_it_needs(bench: Bench) -> None:
    digest = bench._blob(b"large")
    models = ModelStore(bench.connection, bench.blobs)
    models.begin("large", digest, 5, "1")
    models.ready(digest, {"layers": [], "parameters": PARAMETERS}, bench._blob(b"clean"))
    bench.resolved = {**bench.resolved, "model": {"name": "large", "digest": digest}}
    bench.start("small", UNITRANK_CHILD_MEMORY_BYTES=str(GiB))
    failed = bench.ended(bench.submit())
    bench.start("big", UNITRANK_CHILD_MEMORY_BYTES=str(4 * GiB))
    ended = [bench.ended(id) for id in [bench.submit() for _ in range(3)]]

    assert failed.problem is not None
    assert failed.problem["code"] == "model_too_large"
    assert "at least 2.40 GB" in failed.problem["detail"]
    assert "the largest worker has 1.07 GB" in failed.problem["detail"]
    assert [(record.status, record.worker) for record in ended] == [("succeeded", "big")] * 3
    assert {worker.name: worker.device_memory for worker in WorkerRegistry(bench.connection).list()} == {
        "big": 4 * GiB,
        "small": GiB,
    }
