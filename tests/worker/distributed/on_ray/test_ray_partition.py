"""Three hosts as network namespaces; one is cut off from the others for some seconds."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.polling import wait_until
from tests.worker.distributed.conftest import ENGINE, ROOT
from tests.worker.distributed.on_ray.hosts import Hosts, missing
from tests.worker.distributed.on_ray.ray_bench import LAST_CLUSTER, NEEDS_RAY, arrays_of, equal, held
from tests.worker.process.conftest import Bench, gone
from unitrank_schemas.base import Json
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    *NEEDS_RAY,
    *([pytest.mark.skip(reason=str(missing()))] if missing() else []),
]

PASSES: list[Json] = [{"ranges": 6, "rows": 4}, {"ranges": 40, "rows": 3, "stage": "ablation"}]
CUT_SECONDS = 20.0
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--object-store-memory", str(80 << 20)]


class Machines:
    """A head with the worker on the first host, and nodes with one CPU on the two others."""

    def __init__(self, hosts: Hosts, bench: Bench, stack: ExitStack) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.hosts, self.bench = hosts, bench
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        stack.callback(shutil.rmtree, self.folder)
        self.settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        nodes = {
            "UNITRANK_STATE": str(bench.state),
            "UNITRANK_CONFINEMENT": "off",
            "PYTHONPATH": path,
            "RAY_TMPDIR": str(self.folder),
        }
        self.address = f"{hosts.address(0)}:6379"
        self.processes: list[subprocess.Popen[bytes]] = []
        stack.callback(self.end)
        self._run(0, {**self.settings, **nodes}, "--head", "--port", "6379", "--num-cpus", "0", "--include-dashboard", "false")
        for host in (1, 2):
            self._run(host, {**self.settings, **nodes}, "--address", self.address, "--num-cpus", "1")
        bench.start(engine=ENGINE, prefix=hosts.inside(0), UNITRANK_RAY=self.address, **self.settings)

    def submit(self, passes: list[Json], execution: str = "distributed") -> str:
        return self.bench.submit(metadata={"passes": passes}, execution=execution)

    def _run(self, host: int, environment: Mapping[str, str], *options: str) -> None:
        command = [*self.hosts.inside(host), *RAY, "--node-ip-address", self.hosts.address(host), *options]
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        # Two nodes that start at the same time would take the same name of a socket in /tmp/ray.
        assert any(b"Ray runtime started" in line for line in process.stdout)

    def end(self) -> None:
        """Kill all processes on the hosts."""
        processes = [each for process in self.processes for each in [*psutil.Process(process.pid).children(recursive=True)]]
        for pid in [*(process.pid for process in self.processes), *(each.pid for each in processes)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            assert process.stdout is not None
            process.stdout.close()
            process.wait()
        wait_until(lambda: all(gone(each.pid) for each in processes), "the hosts' processes end")


@pytest.fixture(scope="module")
def machines(importable: None, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with ExitStack() as stack:
        connection = stack.enter_context(connect(server.url))
        connection.flushall()
        hosts = Hosts(3)
        stack.callback(hosts.end)
        bench = Bench(server.url, connection, tmp_path_factory.mktemp("state"))
        machines = Machines(hosts, bench, stack)
        stack.callback(bench.close)
        yield machines


def test_hosts_when_they_run_then_other_programs_of_the_machine_do_not_find_their_cluster(machines: Machines) -> None:
    assert (machines.folder / "ray/ray_current_cluster").read_text() == machines.address
    assert not LAST_CLUSTER.exists() or LAST_CLUSTER.read_text() != machines.address


def test_host_when_cut_off_for_20_s_and_brought_back_then_nothing_is_lost_and_nothing_counts_twice(
    machines: Machines, tmp_path: Path
) -> None:
    bench = machines.bench
    first = machines.submit(PASSES)
    wait_until(lambda: bench.jobs.get(first).ended, "the first job ends")
    id = machines.submit([PASSES[0], PASSES[1] | held(tmp_path, 4)])
    wait_until(lambda: (tmp_path / "marks").exists() or bench.jobs.get(id).ended, "a host computes the range")
    machines.hosts.cut(2)
    (tmp_path / "go").touch()
    time.sleep(CUT_SECONDS)
    machines.hosts.plug(2)

    assert equal(arrays_of(bench, id), arrays_of(bench, machines.submit(PASSES, "local")))
    record = bench.jobs.get(id)
    assert (record.attempt, record.losses) == (1, 0)
    assert record.progress is not None
    assert record.progress["shards"] == {"done": 40, "total": 40}
    assert record.progress["done"] == record.progress["total"] == 144
    assert bench.summary(id)["cost"]["nodes"] == 2


def test_job_when_a_host_was_cut_off_before_then_runs_on_both_hosts(machines: Machines) -> None:
    id = machines.submit(PASSES)

    assert machines.bench.summary(id)["cost"]["nodes"] == 2
