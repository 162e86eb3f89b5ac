"""A store, a service, an inspector and two workers, each started again when it has ended, and what can be done to them."""

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.chaos.blows import Blow
from unitrank.addresses import claim_port, url_of
from unitrank.server.processes import stages
from unitrank.server.supervisor import Command
from unitrank_store.redis.die_with_parent import dying_with_parent
from unitrank_store.redis.embedded import EmbeddedServer

HOST = "127.0.0.1"
LOOK_SECONDS = 0.05
END_SECONDS = 30.0
# Losses are noticed soon, so that a run of minutes has many of them.
SETTINGS = {
    "UNITRANK_HEARTBEAT": "1",
    "UNITRANK_HEARTBEAT_GRACE": "3",
    "UNITRANK_REAPER_INTERVAL": "0.5",
    # The larger results lie in the blob store, the others in Redis.
    "UNITRANK_REDIS_RESULT_BYTES": "1500",
    "UNITRANK_LOG_FORMAT": "json",
}


class Machine:
    """A context manager. To be used by one thread that lives as long: the processes end with it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.log = folder / "log"
        self.server = EmbeddedServer(self.state)
        port = claim_port(HOST, 0)
        self.url = url_of(HOST, port)
        environment = {
            **SETTINGS,
            "UNITRANK_STATE": str(self.state),
            "UNITRANK_REDIS_URL": self.server.url,
            "UNITRANK_HOST": HOST,
            "UNITRANK_PORT": str(port),
        }
        (*workers, inspector), (service,) = stages(["cpu", "cpu"], {**environment, "OMP_NUM_THREADS": "1"})
        self._workers = [_Kept(command, self.log) for command in workers]
        self._service = _Kept(service, self.log)
        self._inspector = _Kept(inspector, self.log)
        self._all = [self._service, self._inspector, *self._workers]
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._paused: set[int] = set()
        self._back = 0.0

    def __enter__(self) -> "Machine":
        self.server.start()
        self._keep()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.calm()
        try:
            for kept in reversed(self._all):
                kept.ask_to_end()
            for kept in reversed(self._all):
                kept.end()
        finally:
            self.server.stop()

    def pass_time(self, seconds: float) -> None:
        """Let time go by, in which all that ended is started again and pauses come to their end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._keep()
            time.sleep(LOOK_SECONDS)

    def strike(self, blow: Blow) -> bool:
        """Whether there was something to hit."""
        if blow.deed == "away":
            self._back = time.monotonic() + blow.lasts
            return self._signal(self._pid("store", 0), signal.SIGKILL)
        pid = self._pid(blow.target, blow.which)
        if blow.deed == "kill":
            return self._signal(pid, signal.SIGKILL)
        if blow.deed == "stop":
            self._due.append((time.monotonic() + blow.lasts, lambda: self._insist(pid)))
            return self._signal(pid, signal.SIGTERM)
        if pid in self._paused or not self._signal(pid, signal.SIGSTOP):
            return False
        self._paused.add(pid)
        self._due.append((time.monotonic() + blow.lasts, lambda: self._resume(pid)))
        return True

    def calm(self) -> None:
        """Everything runs again."""
        for pid in list(self._paused):
            self._resume(pid)
        self._due.clear()
        self._back = 0.0
        self.pass_time(2 * LOOK_SECONDS)

    def left(self) -> list[str]:
        """The processes of this machine that live."""
        return [found for process in psutil.process_iter() if (found := _of(process, self.state))]

    def _keep(self) -> None:
        now = time.monotonic()
        due = [each for each in self._due if each[0] <= now]
        self._due = [each for each in self._due if each[0] > now]
        for _, action in due:
            action()
        if now >= self._back:
            self.server.keep()
        for kept in self._all:
            kept.keep()

    def _pid(self, target: str, which: int) -> int:
        """0 where there is none at this moment."""
        if target == "store":
            return self.server.pid if self.server.running else 0
        if target == "service":
            return self._service.pid
        if target == "inspector":
            # Either of the two.
            return self._inspector.pid if which % 2 else _child(self._inspector.pid)
        worker, child = self._worker(which)
        return worker if target == "worker" else child

    def _worker(self, which: int) -> tuple[int, int]:
        """A worker and its child; most often those with the oldest child, which works: a new one first has to start."""
        pairs = [(kept.pid, _child(kept.pid)) for kept in self._workers]
        return pairs[which % len(pairs)] if which % 5 == 0 else min(pairs, key=lambda pair: _born(pair[1]))

    def _signal(self, pid: int, number: signal.Signals) -> bool:
        if not pid:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def _insist(self, pid: int) -> None:
        """The second SIGTERM, if it is still there: nobody else has its number as long as nobody has waited for it."""
        if pid in [kept.pid for kept in self._all]:
            self._signal(pid, signal.SIGTERM)

    def _resume(self, pid: int) -> None:
        self._paused.discard(pid)
        # Whoever was killed meanwhile may have left the number to another process, which a SIGCONT does not harm.
        self._signal(pid, signal.SIGCONT)


class _Kept:
    """One process, started again at once when it has ended."""

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

    def ask_to_end(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment(command: Command) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"}
    return {**kept, **command.environment}


def _child(worker: int) -> int:
    with suppress(psutil.Error):
        children: Sequence[psutil.Process] = psutil.Process(worker).children() if worker else []
        return int(children[0].pid) if children else 0
    return 0


def _born(pid: int) -> float:
    with suppress(psutil.Error):
        return float(psutil.Process(pid).create_time()) if pid else math.inf
    return math.inf


def _of(process: psutil.Process, state: Path) -> str | None:
    """What the process is, where it belongs to that state folder and lives."""
    with suppress(psutil.Error):
        words = process.cmdline()
        ours = process.environ().get("UNITRANK_STATE") == str(state) or str(state) in words
        if ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            return f"{process.pid} {' '.join(words[-4:])}"
    return None
