"""A store, two services, an inspector and two workers. A process that a fault ends is restarted."""

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.chaos.faults import NODE_TARGETS, Fault
from benchmarks.chaos.nodes import ENGINE, Nodes
from unitrank.addresses import claim_port, url_of
from unitrank.server.processes import stages
from unitrank.server.supervisor import Command
from unitrank_store.redis.die_with_parent import dying_with_parent
from unitrank_store.redis.embedded import EmbeddedServer

HOST = "127.0.0.1"
POLL_SECONDS = 0.05
END_SECONDS = 30.0
SERVICES = 2
# Losses are detected early, so that a run of minutes has many of them.
SETTINGS = {
    "UNITRANK_HEARTBEAT": "1",
    "UNITRANK_HEARTBEAT_GRACE": "3",
    "UNITRANK_REAPER_INTERVAL": "0.5",
    # Larger results are stored in the blob store, smaller ones in Redis.
    "UNITRANK_REDIS_RESULT_BYTES": "1500",
    "UNITRANK_LOG_FORMAT": "json",
}


class Machine:
    """All processes of an installation; a context manager.

    One thread must use the machine from start to end: the kernel ends the processes when that
    thread ends.
    `folder`: the state and the log of the processes.
    """

    def __init__(self, folder: Path, nodes: Nodes | None = None) -> None:
        """`nodes`: the machines of a Ray cluster, which the workers use; None without one."""
        self._nodes = nodes
        self.state = folder / "state"
        self.log = folder / "log"
        self.server = EmbeddedServer(self.state)
        ports = [claim_port(HOST, 0) for _ in range(SERVICES)]
        self.urls = [url_of(HOST, port) for port in ports]
        environment = {
            **SETTINGS,
            "UNITRANK_STATE": str(self.state),
            "UNITRANK_REDIS_URL": self.server.url,
            "UNITRANK_HOST": HOST,
        }
        (*workers, inspector), (service,) = stages(["cpu", "cpu"], {**environment, "OMP_NUM_THREADS": "1"})
        self._workers = [_Process(_dividing(command, nodes), self.log) for command in workers]
        self._services = [
            _Process(replace(service, environment={**service.environment, "UNITRANK_PORT": str(port)}), self.log) for port in ports
        ]
        self._inspector = _Process(inspector, self.log)
        self._all = [*self._services, self._inspector, *self._workers]
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._paused: set[int] = set()
        self._store_back_at = 0.0

    def __enter__(self) -> "Machine":
        self.server.start()
        self._keep()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop_faults()
        try:
            for process in reversed(self._all):
                process.terminate()
            for process in reversed(self._all):
                process.wait_or_kill()
        finally:
            self.server.stop()

    def pass_time(self, seconds: float) -> None:
        """Wait; meanwhile restart ended processes, and send the signals that are due."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._keep()
            time.sleep(POLL_SECONDS)

    def inject(self, fault: Fault) -> bool:
        """Inject the fault; returns whether its process was running."""
        if fault.target in NODE_TARGETS:
            return self._nodes is not None and self._nodes.kill(fault.target, fault.which)
        if fault.action == "away":
            self._store_back_at = time.monotonic() + fault.duration
            return self._signal(self._pid("store", 0), signal.SIGKILL)
        pid = self._pid(fault.target, fault.which)
        if fault.action == "kill":
            return self._signal(pid, signal.SIGKILL)
        if fault.action == "stop":
            self._due.append((time.monotonic() + fault.duration, lambda: self._terminate_again(pid)))
            return self._signal(pid, signal.SIGTERM)
        if pid in self._paused or not self._signal(pid, signal.SIGSTOP):
            return False
        self._paused.add(pid)
        self._due.append((time.monotonic() + fault.duration, lambda: self._resume(pid)))
        return True

    def stop_faults(self) -> None:
        """Resume and restart all processes now, and drop the signals that are still due."""
        for pid in list(self._paused):
            self._resume(pid)
        self._due.clear()
        self._store_back_at = 0.0
        self.pass_time(2 * POLL_SECONDS)
        if self._nodes is not None:
            self._nodes.complete()

    def live_processes(self) -> list[str]:
        """Process id and command of each process of this installation that still runs."""
        return [text for process in psutil.process_iter() if (text := _described(process, self.state))]

    def _keep(self) -> None:
        now = time.monotonic()
        due = [each for each in self._due if each[0] <= now]
        self._due = [each for each in self._due if each[0] > now]
        for _, action in due:
            action()
        if now >= self._store_back_at:
            self.server.keep()
        for process in self._all:
            process.keep()

    def _pid(self, target: str, which: int) -> int:
        """The process id; 0 if the process is not running now."""
        if target == "store":
            return self.server.pid if self.server.running else 0
        if target == "service":
            return self._services[which % SERVICES].pid
        if target == "inspector":
            # The inspector or its child.
            return self._inspector.pid if which % 2 else _child(self._inspector.pid)
        worker, child = self._worker(which)
        return worker if target == "worker" else child

    def _worker(self, which: int) -> tuple[int, int]:
        """Process ids of a worker and its child.

        Usually this is the worker with the oldest child, because a new child is still starting.
        """
        pairs = [(worker.pid, _child(worker.pid)) for worker in self._workers]
        return pairs[which % len(pairs)] if which % 5 == 0 else min(pairs, key=lambda pair: _created_at(pair[1]))

    def _signal(self, pid: int, number: signal.Signals) -> bool:
        if not pid:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def _terminate_again(self, pid: int) -> None:
        """Send the second SIGTERM, if the process still runs.

        No other process can have this id: the kernel keeps it until the parent has waited for it.
        """
        if pid in [process.pid for process in self._all]:
            self._signal(pid, signal.SIGTERM)

    def _resume(self, pid: int) -> None:
        self._paused.discard(pid)
        # If the process was killed, another process may have this id. A SIGCONT does no harm there.
        self._signal(pid, signal.SIGCONT)


class _Process:
    """A process that `keep` restarts when it has ended."""

    def __init__(self, command: Command, log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def keep(self) -> None:
        if self.pid:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_parent(list(self._command.command_line), signal.SIGKILL),
                env=_environment(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait_or_kill(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _dividing(worker: Command, nodes: Nodes | None) -> Command:
    """The command of a worker that divides its jobs between the machines, if there are any."""
    if nodes is None:
        return worker
    return replace(
        worker,
        command_line=[*worker.command_line, "--engine", ENGINE],
        environment={**worker.environment, **nodes.settings},
    )


def _environment(command: Command) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"}
    return {**inherited, **command.environment}


def _child(worker: int) -> int:
    """The process id of the worker's oldest child; 0 without one."""
    with suppress(psutil.Error):
        children: Sequence[psutil.Process] = psutil.Process(worker).children() if worker else []
        # A spare is younger than the child that has jobs.
        return int(min(children, key=lambda child: child.create_time()).pid) if children else 0
    return 0


def _created_at(pid: int) -> float:
    with suppress(psutil.Error):
        return float(psutil.Process(pid).create_time()) if pid else math.inf
    return math.inf


def _described(process: psutil.Process, state: Path) -> str | None:
    """Process id and command; None if the process has ended or uses another state folder."""
    with suppress(psutil.Error):
        words = process.cmdline()
        uses_state = process.environ().get("UNITRANK_STATE") == str(state) or str(state) in words
        if uses_state and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            return f"{process.pid} {' '.join(words[-4:])}"
    return None
