"""A worker whose jobs are divided between the nodes of a Ray cluster."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.polling import wait_until
from tests.worker.distributed.on_ray.ray_bench import LAST_CLUSTER, NEEDS_RAY, PASSES, RayBench, held
from tests.worker.process.conftest import cancel, gone
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_store.settings import Settings

pytestmark = [pytest.mark.check, *NEEDS_RAY]


@pytest.fixture(scope="module")
def ray(importable: None, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayBench]:
    """A cluster and a worker for all tests of this module that leave both alive."""
    with ExitStack() as stack:
        bench = RayBench(server.url, tmp_path_factory.mktemp("state"), stack)
        bench.start()
        yield bench


def test_job_when_divided_by_ray_then_equals_the_local_one_to_the_bit(ray: RayBench) -> None:
    divided, local = ray.submit(PASSES), ray.submit(PASSES, "local")

    expected, actual = ray.arrays(local), ray.arrays(divided)
    assert {name: array.tobytes() for name, array in actual.items()} == {name: array.tobytes() for name, array in expected.items()}
    assert ray.bench.summary(divided)["cost"]["nodes"] == 1
    assert "nodes" not in ray.bench.summary(local)["cost"]
    progress = ray.bench.jobs.get(divided).progress
    assert progress is not None
    assert progress["shards"] == {"done": 9, "total": 9}
    assert progress["done"] == progress["total"] == 47


def test_cluster_when_it_runs_then_other_programs_of_the_machine_do_not_find_it(ray: RayBench) -> None:
    assert (ray.cluster.folder / "ray/ray_current_cluster").read_text() == ray.cluster.address
    assert not LAST_CLUSTER.exists() or LAST_CLUSTER.read_text() != ray.cluster.address


def test_actors_when_they_run_then_know_no_address_of_the_store_and_no_torch(ray: RayBench) -> None:
    ray.bench.summary(ray.submit(PASSES))

    for actor in ray.cluster.actors():
        assert not any("redis" in f"{name}={value}".lower() for name, value in actor.environ().items() if name != "RAY_JOB_ID")
        assert "libtorch" not in Path(f"/proc/{actor.pid}/maps").read_text()
    for child in ray.cluster.children():
        assert ray.cluster.token not in str(child.environ())


def test_actor_when_killed_in_mid_range_then_only_its_ranges_are_computed_again(ray: RayBench, tmp_path: Path) -> None:
    # A request that does not fit into a call, and two passes before the one with the loss.
    passes = [PASSES[0] | {"note": "x" * 20_000}, PASSES[0], PASSES[1]]
    id = ray.submit([*passes[:2], passes[2] | held(tmp_path, 4)])
    ray.in_range(id, tmp_path / "marks")
    replica = int((tmp_path / "marks").read_text().split()[0])
    psutil.Process(replica).parent().kill()  # type: ignore[union-attr]
    wait_until(lambda: gone(replica), "the replica ends with its actor")
    (tmp_path / "go").touch()

    assert ray.arrays(id)["sum/2"].tobytes() == ray.arrays(ray.submit(passes, "local"))["sum/2"].tobytes()


def test_job_when_cancelled_in_a_pass_then_its_replicas_stop_and_stay_warm(ray: RayBench, tmp_path: Path) -> None:
    ray.bench.summary(ray.submit(PASSES))
    before = {child.pid for child in ray.cluster.children()}
    id = ray.submit([PASSES[0], PASSES[1] | held(tmp_path, 4)])
    ray.in_range(id, tmp_path / "marks")

    cancel(ray.bench, id)
    assert ray.bench.ended(id).status == "cancelled"
    ray.bench.summary(ray.submit(PASSES))
    assert before & {child.pid for child in ray.cluster.children()}


def test_job_when_its_time_is_over_then_its_replicas_stop_and_stay_warm(ray: RayBench, tmp_path: Path) -> None:
    ray.bench.summary(ray.submit(PASSES))
    before = {child.pid for child in ray.cluster.children()}
    id = ray.submit([PASSES[0], PASSES[1] | held(tmp_path, 4)], timeout=1.5)

    record = ray.bench.ended(id)
    assert (record.status, record.attempt) == ("timed_out", 1)
    assert "not finished within the allowed 1.5 s" in str(record.problem)
    ray.bench.summary(ray.submit(PASSES))
    assert before & {child.pid for child in ray.cluster.children()}


@pytest.mark.slow
def test_owner_child_when_killed_then_the_job_runs_again(ray: RayBench, tmp_path: Path) -> None:
    id = ray.submit([PASSES[0], PASSES[1] | held(tmp_path, 4)])
    ray.in_range(id, tmp_path / "marks")
    psutil.Process(ray.bench.workers[0].child()).kill()
    (tmp_path / "go").touch()

    assert ray.arrays(id)["sum/1"].tobytes() == ray.arrays(ray.submit(PASSES, "local"))["sum/1"].tobytes()
    assert ray.bench.jobs.get(id).attempt == 2


def test_owner_when_it_sends_nonsense_then_its_job_fails_and_others_run(ray: RayBench) -> None:
    hostile = ray.submit([PASSES[0], PASSES[1] | {"owner": '{"pass": "ablation", "ranges": 10000000000}\n'}])
    healthy = ray.submit(PASSES)

    problem = ray.bench.ended(hostile).problem
    assert problem is not None
    assert problem["code"] == "worker_lost"
    assert ray.bench.summary(healthy)["cost"]["nodes"] == 1


def test_range_when_it_crashes_twice_then_the_job_ends_as_worker_lost_and_others_run(ray: RayBench, tmp_path: Path) -> None:
    kill = {"range": 2, "times": 99, "file": str(tmp_path / "kills")}
    poisonous, healthy = ray.submit([PASSES[0] | {"kill": kill}]), ray.submit(PASSES)

    problem = ray.bench.ended(poisonous).problem
    assert problem is not None
    assert problem["code"] == "worker_lost"
    assert ray.bench.jobs.get(poisonous).attempt == 1
    ray.bench.summary(healthy)


def test_node_when_removed_and_another_added_then_the_job_goes_on_with_the_new_one(ray: RayBench, tmp_path: Path) -> None:
    id = ray.submit([PASSES[0], PASSES[1] | held(tmp_path, 4)])
    ray.in_range(id, tmp_path / "marks")
    ray.cluster.remove("a")
    ray.cluster.add("c")
    wait_until(lambda: len(ray.cluster.actors()) == 2, "the new node has an actor")
    (tmp_path / "go").touch()

    assert ray.arrays(id)["sum/1"].tobytes() == ray.arrays(ray.submit(PASSES, "local"))["sum/1"].tobytes()


def test_owner_when_its_worker_is_killed_then_all_replicas_end_and_the_job_is_queued_again(ray: RayBench, tmp_path: Path) -> None:
    (worker,) = ray.bench.workers
    id = ray.submit([PASSES[0], PASSES[1] | held(tmp_path, 4)])
    ray.in_range(id, tmp_path / "marks")
    replicas = ray.cluster.children()
    driver = next(child for child in psutil.Process(worker.process.pid).children() if "driver" in " ".join(child.cmdline()))
    worker.process.send_signal(signal.SIGKILL)

    wait_until(lambda: gone(driver.pid) and all(gone(replica.pid) for replica in replicas), "driver and replicas end", seconds=20)
    reaper = Reaper(ray.connection, Settings(state=ray.bench.state, heartbeat=0.2, heartbeat_grace=1))
    wait_until(lambda: reaper.sweep() or ray.bench.status(id) == "queued", "the job is queued again")
    (tmp_path / "go").touch()
    ray.start("second")
    assert ray.bench.summary(id)["cost"]["nodes"] == 1
