"""Clusters that cannot be used: no head, other versions, nodes without blobs."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.polling import wait_until
from tests.worker.distributed.conftest import ENGINE
from tests.worker.distributed.on_ray.ray_bench import LONG, NEEDS_RAY, PASSES, RayBench, held
from tests.worker.process.conftest import Bench, gone
from unitrank_schemas.base import Json
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = NEEDS_RAY


@pytest.fixture
def bench(importable: None, redis_url: str, connection: redis.Redis, tmp_path: Path) -> Iterator[Bench]:
    """A store without workers and without a cluster."""
    bench = Bench(redis_url, connection, tmp_path)
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture(scope="module")
def ray(importable: None, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayBench]:
    """A cluster whose nodes have an empty folder of blobs, and no worker."""
    with ExitStack() as stack:
        yield RayBench(server.url, tmp_path_factory.mktemp("state"), stack, tmp_path_factory.mktemp("nodes"))


def problem_of(bench: Bench, id: str) -> Json:
    problem = bench.ended(id).problem
    assert problem is not None
    return problem


@pytest.mark.check
def test_job_when_no_ray_answers_then_runs_in_one_process_with_a_warning_or_fails(bench: Bench) -> None:
    bench.start(engine=ENGINE, UNITRANK_RAY="127.0.0.1:1")
    bench.resolved["flops"] = LONG
    auto = bench.submit(metadata={"passes": PASSES})
    distributed = bench.submit(metadata={"passes": PASSES}, execution="distributed")

    (warning,) = bench.summary(auto)["warnings"]
    assert warning["code"] == "ray_unreachable"
    assert "ran in one process: no Ray answers at 127.0.0.1:1" in warning["detail"]
    assert problem_of(bench, distributed)["code"] == "ray_unreachable"


@pytest.mark.check
def test_job_when_it_asks_for_nodes_and_its_worker_has_no_ray_then_fails_in_clear_words(bench: Bench) -> None:
    bench.start(engine=ENGINE)

    problem = problem_of(bench, bench.submit(metadata={"passes": PASSES}, execution="distributed"))
    assert problem["code"] == "ray_unreachable"
    assert "the worker that took it has no UNITRANK_RAY" in problem["detail"]


@pytest.mark.slow
def test_job_when_no_node_can_read_its_blobs_then_the_problem_names_the_nodes(ray: RayBench) -> None:
    worker = ray.start()

    problem = problem_of(ray.bench, ray.submit(PASSES))
    assert problem["code"] == "node_without_blobs"
    assert problem["detail"].startswith(f"no node of the cluster can read the model and the dataset: {ray.address} (")
    worker.end()


@pytest.mark.slow
def test_job_when_the_versions_of_its_nodes_differ_then_is_refused_with_both(ray: RayBench, tmp_path: Path) -> None:
    facts = tmp_path / "unitrank-9.9.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: unitrank\nVersion: 9.9\n")
    worker = ray.start("other", PYTHONPATH=f"{tmp_path}:{ray.path}")

    problem = problem_of(ray.bench, ray.submit(PASSES))
    assert problem["code"] == "ray_versions_differ"
    assert f"on node {ray.address}, 9.9 here" in problem["detail"]
    worker.end()


@pytest.mark.slow
def test_head_when_killed_in_mid_job_then_the_job_is_queued_again(ray: RayBench, tmp_path: Path) -> None:
    shutil.copytree(ray.bench.state / "blobs", ray.nodes_state / "blobs", dirs_exist_ok=True)
    worker = ray.start("third")
    id = ray.submit([PASSES[0], PASSES[1] | held(tmp_path, 4)])
    ray.in_range(id, tmp_path / "marks")
    replicas = ray.cluster.children()
    ray.cluster.kill_head()

    wait_until(lambda: ray.bench.jobs.get(id).losses, "the job has lost a process", seconds=60)
    problem = problem_of(ray.bench, id)
    assert problem["code"] == "ray_unreachable"
    wait_until(lambda: all(gone(replica.pid) for replica in replicas), "the replicas end")
    assert psutil.pid_exists(worker.process.pid)
