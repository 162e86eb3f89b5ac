"""The supervisor restarts processes that end, and leaves none behind when it stops."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.polling import PATIENCE, wait_until
from tests.worker.process.conftest import Bench
from unitrank_store.queue.rq_queue import transport_id, waiting_ids

pytestmark = pytest.mark.check

LAST_SECONDS = 90.0
"""Time for a worker to put its job back, on a busy machine."""
ROOT = Path(__file__).parents[3]

# Each program adds its process id to `<name>.pid`. A polite program adds its name to `order` after
# SIGTERM; if it gets a second name, it waits for that name first.
POLITE = """
import os, signal, sys, time
name, *before = sys.argv[1:]
def end(number, frame):
    while before and not (os.path.exists("order") and before[0] in open("order").read()):
        time.sleep(0.05)
    open("order", "a").write(f"{name}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(f"{name}.pid", "a").write(f"{os.getpid()}\\n")
while True:
    time.sleep(0.05)
"""
DEAF = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(f"{sys.argv[1]}.pid", "a").write(f"{os.getpid()}\\n{child.pid}\\n")
while True:
    time.sleep(0.05)
"""
BROKEN = "import sys; open(f'{sys.argv[1]}.pid', 'a').write('0\\n'); sys.exit(int(sys.argv[2]))"


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, stages: str, last_seconds: float = 0.3) -> None:
        self.folder = folder
        for name, text in {"polite": POLITE, "deaf": DEAF, "broken": BROKEN}.items():
            (folder / f"{name}.py").write_text(text)
        script = f"""
            import sys
            from unitrank.server import supervisor
            from unitrank.server.supervisor import Command, Supervisor

            supervisor.LAST_SECONDS = {last_seconds}

            def polite(name, *before, **more):
                return Command(name, [sys.executable, "polite.py", name, *before], **more)

            def deaf(name, **more):
                return Command(name, [sys.executable, "deaf.py", name], **more)

            def broken(name, status="3", **more):
                return Command(name, [sys.executable, "broken.py", name, status], **more)

            sys.exit(Supervisor({stages}, lambda event: print(event, flush=True)).run())
        """
        self._output = folder / "output"
        with self._output.open("w") as output:
            self.process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=folder, stdout=output)

    def pids(self, name: str, count: int = 1) -> list[int]:
        """The ids of its processes so far, once there are at least `count`."""
        path = self.folder / f"{name}.pid"
        wait_until(lambda: path.exists() and len(path.read_text().splitlines()) >= count, f"{name} has started")
        return [int(line) for line in path.read_text().splitlines()]

    def send(self, number: signal.Signals, text: str) -> None:
        """Sends a signal, and returns when the output has the text."""
        self.process.send_signal(number)
        wait_until(lambda: text in self._output.read_text(), f"{text!r} is in the output")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Sends a last signal, and returns the whole output."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> str:
        """Waits for the end, and returns the whole output."""
        self.process.wait(PATIENCE)
        return self._output.read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for path in self.folder.glob("*.pid"):
            for pid in path.read_text().split():
                if int(pid) and alive(int(pid)):
                    os.kill(int(pid), signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    started: list[Running] = []

    def start(stages: str) -> Running:
        started.append(Running(tmp_path, stages))
        return started[-1]

    yield start
    for running in started:
        running.close()


def test_process_when_it_is_killed_then_is_started_again_and_announced(supervise: Callable[[str], Running]) -> None:
    running = supervise('[[polite("worker")]]')
    first = running.pids("worker")[0]
    os.kill(first, signal.SIGKILL)
    second = running.pids("worker", 2)[1]
    output = running.stop()

    assert first != second
    assert "worker ended with signal SIGKILL; it is started again in 0.5 s" in output
    assert not alive(second)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stages_when_stopped_then_end_one_after_another(supervise: Callable[[str], Running], number: signal.Signals) -> None:
    running = supervise('[[polite("worker", "other"), polite("other")], [polite("service")]]')
    for name in ("worker", "other", "service"):
        running.pids(name)
    running.stop(number)

    assert (running.folder / "order").read_text().split() == ["other", "worker", "service"]
    assert running.process.returncode == 0


def test_process_when_it_does_not_stop_then_is_killed_with_what_it_started(supervise: Callable[[str], Running]) -> None:
    running = supervise('[[deaf("worker", drain_seconds=0.3)]]')
    pids = running.pids("worker", 2)
    output = running.stop()

    assert "worker did not end in time and is killed" in output
    assert not any(alive(pid) for pid in pids)


def test_stop_when_signalled_twice_then_does_not_wait(supervise: Callable[[str], Running]) -> None:
    running = supervise('[[deaf("worker", drain_seconds=600)]]')
    pids = running.pids("worker", 2)
    running.send(signal.SIGTERM, "waiting for worker")
    running.stop()

    assert not any(alive(pid) for pid in pids)


def test_stop_when_signalled_three_times_then_kills_at_once(tmp_path: Path) -> None:
    running = Running(tmp_path, '[[deaf("worker", drain_seconds=600)]]', last_seconds=600)
    try:
        pids = running.pids("worker", 2)
        running.send(signal.SIGTERM, "waiting for worker")
        running.send(signal.SIGTERM, "no longer waiting for worker")
        running.stop()
    finally:
        running.close()

    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("stops", [1, 2])
def test_worker_when_stopped_in_mid_job_then_the_job_is_put_back_and_not_lost(
    redis_url: str, connection: redis.Redis, tmp_path: Path, stops: int
) -> None:
    bench = Bench(redis_url, connection, tmp_path / "state")
    command = ["-m", "unitrank_worker", "--name", "w", "--engine", "tests.worker.scripted_engine:Scripted"]
    environment = {"UNITRANK_REDIS_URL": redis_url, "UNITRANK_STATE": str(bench.state), "PYTHONPATH": str(ROOT)}
    drain = 0.2 if stops == 1 else 600
    stages = f'[[Command("w", [sys.executable, *{command}], {environment}, drain_seconds={drain})]]'
    running = Running(tmp_path, stages, last_seconds=LAST_SECONDS)
    try:
        id = bench.submit(["sleep", 600], timeout=600)
        bench.running(id)
        if stops == 2:
            running.send(signal.SIGINT, "waiting for w")
        output = running.stop(signal.SIGINT)
    finally:
        running.close()

    record = bench.jobs.get(id)
    assert (record.status, record.attempt, record.losses) == ("queued", 1, 0)
    assert "killed" not in output
    assert transport_id(id, 1) in waiting_ids(connection, "job")


def test_process_when_it_never_starts_well_then_the_delay_grows(supervise: Callable[[str], Running]) -> None:
    running = supervise('[[broken("worker")]]')
    running.pids("worker", 3)
    output = running.stop()

    assert "worker ended with status 3; it is started again in 0.5 s" in output
    assert "worker ended with status 3; it is started again in 1 s" in output


def test_vital_process_when_it_never_starts_well_then_all_is_given_up(supervise: Callable[[str], Running]) -> None:
    running = supervise('[[polite("worker")], [broken("service", quick_ends=2)]]')
    output = running.end()

    assert running.process.returncode == 1
    assert "service ended 2 times soon after its start, the last time with status 3" in output
    assert not any(alive(pid) for pid in running.pids("worker"))


def test_vital_process_when_it_cannot_run_with_its_settings_then_is_not_restarted(supervise: Callable[[str], Running]) -> None:
    running = supervise('[[polite("worker")], [broken("service", "2", quick_ends=5)]]')
    output = running.end()

    assert running.process.returncode == 2
    assert "service cannot run with its settings" in output
    assert len(running.pids("service")) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_supervisor_when_it_is_killed_then_its_processes_go_too(supervise: Callable[[str], Running]) -> None:
    running = supervise('[[polite("worker")], [polite("service")]]')
    pids = [running.pids(name)[0] for name in ("worker", "service")]
    running.process.kill()

    wait_until(lambda: not any(alive(pid) for pid in pids), "both are gone")
