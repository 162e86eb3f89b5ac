"""The children of a real worker: each holds the data of one tenant."""

import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.polling import wait_until
from tests.worker.process.conftest import Bench, Running, gone
from tests.worker.process.lifecycle.test_counters import counted
from tests.worker.process.lifecycle.test_isolation import secrets_in
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.queue.rq_queue import enqueue_inspection
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_tables.sizes import MiB

MARKER = "clusters-of-a"


def spare_of(worker: Running) -> int:
    """The process id of the youngest child."""
    return max(worker.children(), key=lambda child: child.create_time()).pid


@pytest.mark.check
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("end", [["report", 0], ["raise", "engine"], ["raise", "cuda"], ["kill", 9], ["sleep", 60], ["report", 60]])
def test_child_when_it_had_data_of_a_tenant_then_no_other_tenant_gets_it(bench: Bench, end: list[object], tmp_path: Path) -> None:
    worker = bench.start(UNITRANK_CHILDREN="2")
    mark = tmp_path / "mark"
    first = bench.submit(["remember", MARKER], ["mark", str(mark)], end, tenant="a", timeout=1)
    bench.ended(first)
    pids = {tenant: bench.summary(bench.submit(tenant=tenant))["pid"] for tenant in ("b", "a", "c", "b")}
    used_by_a = {*map(int, mark.read_text().split()), pids["a"]}

    assert len(set(pids.values())) == 3
    assert used_by_a & {pids["b"], pids["c"]} == set()
    for child in worker.children():
        assert child.pid in used_by_a or secrets_in(child.pid, [MARKER.encode()]) == []


@pytest.mark.check
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_tenants_when_they_alternate_then_each_has_its_process_and_its_scratch_folder(bench: Bench) -> None:
    worker = bench.start()
    pids = [bench.summary(bench.submit(["remember", f"clusters-of-{tenant}"], tenant=tenant))["pid"] for tenant in "abab"]
    markers = [b"clusters-of-a", b"clusters-of-b"]

    assert pids == [pids[0], pids[1]] * 2
    assert [secrets_in(pid, markers) for pid in pids[:2]] == [[b"clusters-of-a"], [b"clusters-of-b"]]
    assert secrets_in(spare_of(worker), markers) == []
    assert len(list((bench.blobs.spool / "children").iterdir())) == 3
    workers = WorkerRegistry(bench.connection)
    wait_until(lambda: workers.list()[0].models == {"a": ["mnist"], "b": ["mnist"]}, "the entry has the models of each tenant")
    assert workers.list()[0].children == 3


@pytest.mark.check
def test_child_when_it_crashes_then_its_job_runs_again_on_the_spare(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start()
    bench.summary(bench.submit())
    wait_until(lambda: len(worker.children()) == 2, "the spare runs")
    spare, mark = spare_of(worker), tmp_path / "mark"

    assert bench.summary(bench.submit(["mark", str(mark)], ["die_once", str(mark)]))["pid"] == spare


@pytest.mark.check
def test_child_when_it_has_grown_too_large_then_the_next_job_gets_the_spare(bench: Bench) -> None:
    worker = bench.start(UNITRANK_IDLE_CHILD_BYTES=str(300 * MiB))
    pids = [bench.summary(bench.submit(script))["pid"] for script in (["report", 0], ["hold", 300 * MiB], ["report", 0])]

    assert pids[0] == pids[1] != pids[2]
    assert counted(bench).child_ended == {"too_large": 1}
    assert worker.process.poll() is None


@pytest.mark.check
def test_worker_when_killed_then_every_child_and_the_spare_go_with_it(bench: Bench) -> None:
    worker = bench.start()
    for tenant in ("a", "b"):
        bench.summary(bench.submit(tenant=tenant))
    id = bench.submit(["hang", 60], tenant="a")
    bench.running(id)
    children = [child.pid for child in worker.children()]
    os.kill(worker.process.pid, signal.SIGKILL)

    assert len(children) == 3
    wait_until(lambda: all(map(gone, children)), "the children go with their parent")
    folders = list((bench.blobs.spool / "children").iterdir())
    bench.start("next")
    assert len(folders) == 3
    assert [folder for folder in folders if folder.exists()] == []


@pytest.mark.check
def test_worker_when_signalled_to_stop_then_no_child_and_no_scratch_folder_is_left(bench: Bench) -> None:
    worker = bench.start()
    for tenant in ("a", "b"):
        bench.summary(bench.submit(tenant=tenant))
    children = psutil.Process(worker.process.pid).children(recursive=True)
    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(30) == 0
    assert all(gone(child.pid) for child in children)
    assert list((bench.blobs.spool / "children").iterdir()) == []


@pytest.mark.check
def test_worker_when_it_can_start_no_child_then_ends_and_its_job_waits(bench: Bench) -> None:
    worker = bench.start()
    bench.summary(bench.submit(tenant="a"))
    wait_until(lambda: len(worker.children()) == 2, "the spare runs")
    folders = bench.blobs.spool / "children"
    shutil.rmtree(folders)
    # No folder can be made below a file.
    folders.write_text("")
    bench.summary(bench.submit(tenant="b"))
    id = bench.submit(tenant="c")

    assert worker.process.wait(30) == 1
    assert bench.jobs.get(id).status == "queued"


def inspector_of(bench: Bench, archive: bytes, tenant: str) -> int:
    """The process that inspected a model which the tenant has uploaded."""
    with bench.blobs.writer() as writer:
        writer.write(archive)
    models = ModelStore(bench.connection, bench.blobs, tenant)
    record = models.begin("m", writer.digest, len(archive), "1").record
    enqueue_inspection(bench.connection, record, Settings())
    wait_until(lambda: models.content(record.digest).status == "ready", "the model is ready")
    return int((models.content(record.digest).manifest or {})["pid"])


@pytest.mark.check
@pytest.mark.parametrize(("tenants", "processes"), [([], 1), (["a"], 1), (["a", "b"], 3)])
def test_inspections_when_keys_are_of_several_tenants_then_each_has_its_process(
    bench: Bench, tenants: list[str], processes: int
) -> None:
    """Jobs of all tenants run the archive that an inspection writes."""
    for tenant in tenants:
        KeyStore(bench.connection).create("key", ["models"], tenant)
    bench.start("inspector", queue="inspections")
    pids = {inspector_of(bench, b"good %d" % number, "a") for number in range(3)}

    assert len(pids) == processes


@pytest.mark.check
def test_tenants_when_one_child_is_kept_then_each_change_takes_a_spare_and_the_worker_lives(bench: Bench) -> None:
    worker = bench.start(UNITRANK_CHILDREN="1")
    ids = [bench.submit(tenant=tenant) for tenant in "abab"]
    pids = [bench.summary(id)["pid"] for id in ids]

    assert len(set(pids)) == 4
    assert worker.process.poll() is None
    assert counted(bench).child_ended == {"evicted": 3}
