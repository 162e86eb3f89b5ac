"""The devices of a cluster: all CPUs of this machine alone, and a machine with two GPUs."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.polling import wait_until
from tests.worker.distributed.conftest import ENGINE
from tests.worker.distributed.on_ray.ray_bench import NEEDS_RAY, PASSES, RayBench, arrays_of, equal
from tests.worker.process.conftest import Bench, gone
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = [pytest.mark.slow, *NEEDS_RAY]


@pytest.fixture
def bench(importable: None, redis_url: str, connection: redis.Redis, tmp_path: Path) -> Iterator[Bench]:
    """A store without workers and without a cluster."""
    bench = Bench(redis_url, connection, tmp_path)
    try:
        yield bench
    finally:
        bench.close()


def test_worker_when_its_cluster_is_its_machine_then_divides_over_all_cpus_and_leaves_no_process(bench: Bench) -> None:
    worker = bench.start(engine=ENGINE, UNITRANK_RAY="auto")
    divided = bench.submit(metadata={"passes": PASSES}, execution="distributed")
    local = bench.submit(metadata={"passes": PASSES}, execution="local")

    assert equal(arrays_of(bench, divided), arrays_of(bench, local))
    assert bench.summary(divided)["cost"]["nodes"] == 1
    processes = psutil.Process(worker.process.pid).children(recursive=True)
    actors = [each for each in processes if "RayNode" in " ".join(each.cmdline())]
    assert 1 <= len(actors) <= (os.cpu_count() or 1)
    worker.end()
    wait_until(lambda: all(gone(each.pid) for each in processes), "all processes of the worker and of Ray end")


def test_machine_when_it_has_two_gpus_then_each_gets_a_process_and_machines_without_gpus_none(
    importable: None, server: EmbeddedServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        ray = RayBench(server.url, tmp_path, stack)
        ray.cluster.add("gpus", gpus=2)
        ray.start()
        divided, local = ray.submit(PASSES), ray.submit(PASSES, "local")

        assert equal(ray.arrays(divided), ray.arrays(local))
        wait_until(lambda: len(ray.cluster.children()) >= 2, "both actors have a process")
        devices = [child.environ()["CUDA_VISIBLE_DEVICES"] for child in ray.cluster.children()]
        assert sorted(set(devices)) == ["0", "1"]
        assert len(ray.cluster.actors()) == 2
