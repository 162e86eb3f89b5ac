"""Keeps processes alive until a signal, then ends them in order (for `unitrank up`).

A process that ends is started again, after a delay that grows while it keeps ending early.

SIGTERM or SIGINT ends the processes stage by stage. Each gets time to finish its work. After that
time, or after a second signal, SIGTERM is sent again: a worker then puts its job back into the
queue. A process that still runs 5 s later, or at a third signal, is killed.

On Linux the processes are also killed when this process is killed, so that none is left behind.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

POLL_SECONDS = 0.1
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
# A process that ran for this long started well.
SOUND_SECONDS = 10.0
# RQ ignores a second signal that arrives within 1 s of the first.
APART_SECONDS = 1.2
# The time between the second SIGTERM and SIGKILL.
LAST_SECONDS = 5.0
# The exit status of a process whose settings make it impossible to run: a restart cannot help.
NOT_POSSIBLE = 2


@dataclass(frozen=True)
class Command:
    """A process to run.

    Args:
        name: the name in messages.
        command_line: the program and its arguments.
        environment: environment variables beside those of this process.
        drain_seconds: seconds that the process gets to finish its work after SIGTERM.
        quick_ends: after this many early ends in a row everything is stopped; None: the process
            is restarted for ever.
    """

    name: str
    command_line: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    drain_seconds: float = 30.0
    quick_ends: int | None = None


class GivenUp(Exception):
    """A required process does not stay alive. `status` is the exit status of the supervisor."""

    def __init__(self, detail: str, status: int = 1) -> None:
        super().__init__(detail)
        self.status = status


class Supervisor:
    """Starts processes, restarts them, and ends them in order.

    Args:
        stages: groups of processes. The last group starts first, and ends last.
        announce: called with a line of text about each event.
        watch: called every 0.1 s while the processes run, for work in this process.
    """

    def __init__(
        self, stages: Sequence[Sequence[Command]], announce: Callable[[str], None], watch: Callable[[], None] | None = None
    ) -> None:
        self._stages = [[_Process(command, announce) for command in stage] for stage in stages]
        self._announce = announce
        self._watch = watch or (lambda: None)
        self._signals = 0
        self._wake = threading.Event()

    def run(self) -> int:
        """Runs the processes until a signal. Returns the exit status.

        The status is 0; 1 if a required process did not stay alive; 2 if it cannot run with its
        settings. Only the main thread may call it. The signal handlers are restored afterwards.
        """
        status = 0
        with self._handling_signals():
            try:
                for stage in reversed(self._stages):
                    for process in stage:
                        process.start()
                self._keep_alive()
            except GivenUp as error:
                self._announce(str(error))
                status = error.status
            finally:
                self._end()
        return status

    def stop(self) -> None:
        """Ends the processes as SIGTERM does, from any thread.

        A second call shortens the wait: running jobs go back into the queue.
        """
        self._signals += 1
        self._wake.set()

    def _keep_alive(self) -> None:
        while not self._signals:
            for stage in self._stages:
                for process in stage:
                    process.keep()
            self._watch()
            self._wake.wait(POLL_SECONDS)

    def _end(self) -> None:
        for stage in self._stages:
            running = [process for process in stage if process.terminate()]
            if running:
                self._announce(f"waiting for {', '.join(process.command.name for process in running)}")
            terminated_at = time.monotonic()
            while any(process.may_run(terminated_at) for process in running) and self._signals < 2:
                time.sleep(POLL_SECONDS)
            self._terminate_again(running, terminated_at + APART_SECONDS)
            for process in stage:
                process.kill()

    def _terminate_again(self, processes: Sequence["_Process"], earliest: float) -> None:
        """Sends SIGTERM again, not before `earliest`, and waits up to 5 s for the ends."""
        self._wait(processes, earliest)
        running = [process for process in processes if process.terminate()]
        if running:
            self._announce(f"no longer waiting for {', '.join(process.command.name for process in running)}")
        self._wait(running, time.monotonic() + LAST_SECONDS)

    def _wait(self, processes: Sequence["_Process"], until: float) -> None:
        """Waits until all processes have ended, until the time, or until a third signal."""
        while any(process.runs for process in processes) and time.monotonic() < until and self._signals < 3:
            time.sleep(POLL_SECONDS)

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stop()


class _Process:
    """A supervised process, across its restarts."""

    def __init__(self, command: Command, announce: Callable[[str], None]) -> None:
        self.command = command
        self._announce = announce
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._early_ends = 0
        self._next_start = 0.0

    def start(self) -> None:
        # Imported here, because the client does not need the store.
        from unitrank_store.redis.die_with_parent import dying_with_parent

        self._started = time.monotonic()
        self._process = subprocess.Popen(
            dying_with_parent(list(self.command.command_line), signal.SIGKILL),
            env={**os.environ, **self.command.environment},
            stdin=subprocess.DEVNULL,
            # Ctrl-C in the terminal must reach only the supervisor, which decides the order.
            start_new_session=True,
        )

    def keep(self) -> None:
        """Starts the process again if it has ended and its delay is over. Raises GivenUp."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._next_start:
                self.start()
        elif self._has_ended():
            self._plan_restart(self._reap(), now)

    def terminate(self) -> bool:
        """Sends SIGTERM. Returns whether the process was running."""
        if self._process is None or self._has_ended():
            return False
        self._process.terminate()
        return True

    @property
    def runs(self) -> bool:
        return not self._has_ended()

    def may_run(self, terminated_at: float) -> bool:
        """Whether the process runs, and its time to finish is not over."""
        return self.runs and time.monotonic() - terminated_at < self.command.drain_seconds

    def kill(self) -> None:
        """Kills the process and its process group."""
        if self._process is None:
            return
        if not self._has_ended():
            self._announce(f"{self.command.name} did not end in time and is killed")
        self._reap()

    def _plan_restart(self, code: int, now: float) -> None:
        self._early_ends = self._early_ends + 1 if now - self._started < SOUND_SECONDS else 0
        name, ending, limit = self.command.name, _ending(code), self.command.quick_ends
        if limit is not None and self._early_ends and code == NOT_POSSIBLE:
            raise GivenUp(f"{name} cannot run with its settings; its messages above name the reason", NOT_POSSIBLE)
        if limit is not None and self._early_ends >= limit:
            raise GivenUp(f"{name} ended {self._early_ends} times soon after its start, the last time with {ending}")
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** max(0, self._early_ends - 1))
        self._announce(f"{name} ended with {ending}; it is started again in {delay:g} s")
        self._next_start = now + delay

    def _has_ended(self) -> bool:
        """Whether the process has ended. It is not reaped, so that its number is not reused."""
        if self._process is None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self) -> int:
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._process = None
        return code


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
