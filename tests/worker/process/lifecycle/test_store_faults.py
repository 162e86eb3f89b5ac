"""A worker on a store that cannot serve for a while: it waits, and loses no job."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.polling import wait_until
from tests.support.processes import short_folder
from tests.support.servers.redis_server import HEALTHY, redis_server, with_user
from tests.worker.process.conftest import Bench
from unitrank_store.redis.connection import connect
from unitrank_store.redis.permissions import acl_command
from unitrank_worker.__main__ import main

pytestmark = pytest.mark.check
RULES = acl_command().partition(">PASSWORD ")[2]


@pytest.fixture
def acl_bench(tmp_path: Path) -> Iterator[Bench]:
    """A store whose workers have exactly the needed ACL; the bench's client may do everything."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        url = stack.enter_context(redis_server(folder / "server", *HEALTHY))
        operator = stack.enter_context(connect(url))
        bench = Bench(with_user(url, operator, RULES), operator, tmp_path)
        stack.callback(bench.close)
        yield bench


def allow(bench: Bench, rules: str) -> None:
    bench.connection.execute_command("ACL", "SETUSER", "unitrank", *rules.split())  # type: ignore[no-untyped-call]


def as_replica(bench: Bench) -> None:
    bench.connection.replicaof("127.0.0.1", "1")


def as_master(bench: Bench) -> None:
    bench.connection.replicaof("NO", "ONE")


FAULTS: dict[str, tuple[Callable[[Bench], object], Callable[[Bench], object], str]] = {
    "replica": (as_replica, as_master, "is a replica"),
    "acl": (
        lambda bench: allow(bench, "-set -hset -evalsha -eval"),
        lambda bench: allow(bench, "+set +hset +evalsha +eval"),
        "forbids",
    ),
}


def with_failed_snapshot(bench: Bench) -> None:
    """The server cannot write its snapshot, because a folder has the name of the file."""
    Path(bench.connection.config_get("dir")["dir"], "dump.rdb").mkdir(exist_ok=True)
    bench.connection.bgsave()
    wait_until(lambda: bench.connection.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot fails")
    bench.connection.config_set("save", "3600 1")


FULL: dict[str, tuple[Callable[[Bench], object], Callable[[Bench], object], str]] = {
    "disk": (with_failed_snapshot, lambda bench: bench.connection.config_set("save", ""), "cannot write to its disk"),
    "memory": (
        lambda bench: bench.connection.config_set("maxmemory", 1),
        lambda bench: bench.connection.config_set("maxmemory", 0),
        "memory has no room",
    ),
}


# The end of a record needs no room in memory, but an entry of the queue does.
@pytest.mark.parametrize(("name", "killed"), [("disk", False), ("disk", True), ("memory", True)])
def test_job_when_the_store_is_full_at_its_end_then_its_worker_waits(
    acl_bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, killed: bool
) -> None:
    bring, repair, part = FULL[name]
    began, go = tmp_path / "began", tmp_path / "go"
    worker = acl_bench.start()
    id = acl_bench.submit(["mark", str(began)], ["await", str(go)], ["raise", "engine"])
    # The child has the job, so the worker has looked for room in memory.
    wait_until(began.exists, "the child begins")
    bring(acl_bench)
    if killed:
        psutil.Process(worker.child()).kill()
    go.touch()
    lines = [""]

    def waits() -> bool:
        lines[0] += capfd.readouterr().err
        return "waiting for the store" in lines[0] or worker.process.poll() is not None

    wait_until(waits, "the worker waits")
    repair(acl_bench)

    record = acl_bench.ended(id)
    assert (record.problem or {})["code"] == "non_finite"
    assert (record.attempt, record.losses) == ((2, 1) if killed else (1, 0))
    assert "is full" in lines[0]
    assert part in lines[0]
    assert worker.process.poll() is None


@pytest.mark.parametrize("name", FAULTS)
def test_job_when_the_store_cannot_serve_at_its_end_then_its_result_is_kept_and_stored_later(
    acl_bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    bring, repair, part = FAULTS[name]
    go = tmp_path / "go"
    worker = acl_bench.start()
    id = acl_bench.submit(["await", str(go)])
    acl_bench.running(id)
    bring(acl_bench)
    go.touch()
    lines = [""]

    def waits() -> bool:
        lines[0] += capfd.readouterr().err
        return "waiting for the store" in lines[0]

    wait_until(waits, "the worker waits")
    repair(acl_bench)

    record = acl_bench.ended(id)
    assert (record.status, record.attempt) == ("succeeded", 1)
    assert part in lines[0]
    assert "s3kret" not in lines[0]
    assert worker.process.poll() is None


@pytest.mark.parametrize("name", [*FAULTS, *FULL])
def test_idle_worker_when_the_store_cannot_serve_for_a_while_then_takes_the_next_job(acl_bench: Bench, name: str) -> None:
    bring, repair, _ = (FAULTS | FULL)[name]
    worker = acl_bench.start(UNITRANK_HEARTBEAT="0.2")
    first = acl_bench.submit()
    acl_bench.ended(first)
    bring(acl_bench)
    # The heartbeat's entry expires: the worker could not write for longer than a heartbeat.
    wait_until(lambda: acl_bench.connection.exists("unitrank:worker:w") == 0, "the worker cannot write", seconds=30)
    repair(acl_bench)

    assert acl_bench.ended(acl_bench.submit()).status == "succeeded"
    assert worker.process.poll() is None


def test_worker_when_the_store_is_a_replica_at_its_start_then_waits_and_runs_jobs_later(
    acl_bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    id = acl_bench.submit()
    as_replica(acl_bench)
    worker = acl_bench.start(wait=False)
    lines = [""]

    def waits() -> bool:
        lines[0] += capfd.readouterr().err
        return "waiting for the store" in lines[0] or worker.process.poll() is not None

    wait_until(waits, "the worker waits")
    as_master(acl_bench)

    assert acl_bench.ended(id).status == "succeeded"
    assert worker.process.poll() is None


def test_worker_when_info_and_client_are_forbidden_then_runs_jobs_in_order(acl_bench: Bench) -> None:
    allow(acl_bench, "-info")
    acl_bench.start()
    ids = [acl_bench.submit() for _ in range(3)]

    assert [acl_bench.ended(id).status for id in ids] == ["succeeded"] * 3


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Any]]:
    """The lines of the log of `main`, which runs in this process."""
    monkeypatch.setattr("unitrank_worker.__main__.configure", lambda form: None)
    monkeypatch.setenv("UNITRANK_STATE", str(tmp_path))
    # A log that an earlier test used does not see the capture.
    monkeypatch.setattr("unitrank_worker.__main__.log", structlog.get_logger())
    with capture_logs() as lines:
        yield lines


def test_worker_when_the_store_is_a_cluster_then_does_not_start(lines: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with short_folder() as folder, redis_server(folder / "server", "--cluster-enabled", "yes") as url:
        monkeypatch.setenv("UNITRANK_REDIS_URL", url)
        assert main([]) == 2

    assert "cluster mode" in lines[-1]["error"]


def test_worker_when_the_password_is_wrong_then_names_it_without_the_password(
    lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_worker.__main__.STORE_SECONDS", 0.5)
    with short_folder() as folder, redis_server(folder / "server", "--requirepass", "right") as url:
        monkeypatch.setenv("UNITRANK_REDIS_URL", f"{url}?password=hunter2")
        assert main([]) == 1

    assert "rejects the user name or the password" in lines[-1]["error"]
    assert "hunter2" not in str(lines)
