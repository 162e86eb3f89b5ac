"""Two workers whose jobs are divided between the nodes of one Ray cluster."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.polling import wait_until
from tests.worker.distributed.on_ray.ray_bench import LONG, NEEDS_RAY, PASSES, RayBench, equal
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = [pytest.mark.slow, *NEEDS_RAY]


def test_worker_when_another_one_has_all_nodes_then_gets_its_share_of_them(
    importable: None, server: EmbeddedServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        ray = RayBench(server.url, tmp_path, stack)
        ray.start("first")
        ray.bench.summary(ray.submit(PASSES))
        wait_until(lambda: len(ray.cluster.actors()) == 2, "the first worker has both nodes")
        held = {"mark": {"range": 4, "file": str(tmp_path / "marks")}, "hold": {"range": 4, "file": str(tmp_path / "go")}}
        long = ray.submit([PASSES[0], {"ranges": 40, "rows": 3, "stage": "ablation", **held}])
        ray.in_range(long, tmp_path / "marks")
        ray.start("second")
        short = ray.submit(PASSES)
        local = ray.submit(PASSES, "local")

        assert equal(ray.arrays(short), ray.arrays(local))
        assert ray.bench.jobs.get(long).status == "running"
        (tmp_path / "go").touch()
        ray.bench.summary(long)
        assert ray.bench.jobs.get(long).losses == 0


def test_child_when_it_ends_while_its_job_waits_for_nodes_then_the_job_has_no_loss(
    importable: None, server: EmbeddedServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        ray = RayBench(server.url, tmp_path, stack)
        worker = ray.start()
        for name in ("a", "b"):
            ray.cluster.remove(name)
        waiting = ray.submit(PASSES)
        wait_until(lambda: ray.bench.jobs.get(waiting).status == "running", "the job waits for nodes")
        os.kill(worker.child(), signal.SIGKILL)
        wait_until(lambda: ray.bench.jobs.get(waiting).attempt == 2, "the job runs again")
        ray.cluster.add("c")

        ray.bench.summary(waiting)
        assert ray.bench.jobs.get(waiting).losses == 0


def test_worker_when_another_one_has_the_only_node_then_its_job_runs_in_one_process(
    importable: None, server: EmbeddedServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        ray = RayBench(server.url, tmp_path, stack)
        ray.cluster.remove("b")
        ray.start("first")
        held = {"mark": {"range": 4, "file": str(tmp_path / "marks")}, "hold": {"range": 4, "file": str(tmp_path / "go")}}
        long = ray.submit([PASSES[0], {"ranges": 40, "rows": 3, "stage": "ablation", **held}])
        ray.in_range(long, tmp_path / "marks")
        ray.start("second")
        ray.bench.resolved["flops"] = LONG
        (warning,) = ray.bench.summary(ray.submit(PASSES, "auto"))["warnings"]

        assert warning["code"] == "ray_without_nodes"
        assert "other jobs have all nodes" in warning["detail"]
        assert ray.bench.jobs.get(long).status == "running"
        (tmp_path / "go").touch()
        ray.bench.summary(long)
