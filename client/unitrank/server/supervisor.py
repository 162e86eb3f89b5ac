"""Keeps a set of processes alive, and ends them in order: what `unitrank up` is, once it has begun.

A process that ends is started again, later each time it ends soon; SIGTERM or SIGINT ends them stage by stage, each with
time to finish what it does. When that is over, or at a second signal, they are asked once more: a worker then puts its job
back. Who is still there a few seconds later, or at a third signal, is killed. On Linux they are killed, too, when this
process is: nothing is left behind.
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
# Who has lived so long has started well.
SOUND_SECONDS = 10.0
# RQ takes a signal that comes within a second of the first for the same one.
APART_SECONDS = 1.2
# What a process that was asked a second time gets before it is killed.
LAST_SECONDS = 5.0
# What a process ends with that cannot run as it was told to: it would not do better the next time.
NOT_POSSIBLE = 2


@dataclass(frozen=True)
class Command:
    """What to run. `quick_ends`: after so many early ends in a row everything is given up; None: it is tried for ever."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    drain_seconds: float = 30.0
    quick_ends: int | None = None


class GivenUp(Exception):
    """A process that everything depends on does not stay alive; `status` is what all ends with."""

    def __init__(self, detail: str, status: int = 1) -> None:
        super().__init__(detail)
        self.status = status


class Supervisor:
    """`stages` end one after another, and begin in the opposite order; `say` gets each event in words.

    `watch` is called a few times a second while all is well: for what lives in this process.
    """

    def __init__(
        self, stages: Sequence[Sequence[Command]], say: Callable[[str], None], watch: Callable[[], None] | None = None
    ) -> None:
        self._stages = [[_Kept(command, say) for command in stage] for stage in stages]
        self._say = say
        self._watch = watch or (lambda: None)
        self._signals = 0
        self._wake = threading.Event()

    def run(self) -> int:
        """Begin, keep alive until a signal, end in order: 0, 1 where something did not stay alive, 2 where it cannot run at all.

        To be called in the main thread; handlers of signals are put back.
        """
        status = 0
        with self._handled():
            try:
                for stage in reversed(self._stages):
                    for kept in stage:
                        kept.start()
                self._keep_alive()
            except GivenUp as error:
                self._say(str(error))
                status = error.status
            finally:
                self._end()
        return status

    def stop(self) -> None:
        """As SIGTERM does; from any thread. A second call waits no longer than a worker takes to put its job back."""
        self._signals += 1
        self._wake.set()

    def _keep_alive(self) -> None:
        while not self._signals:
            for stage in self._stages:
                for kept in stage:
                    kept.keep()
            self._watch()
            self._wake.wait(POLL_SECONDS)

    def _end(self) -> None:
        for stage in self._stages:
            running = [kept for kept in stage if kept.ask_to_end()]
            if running:
                self._say(f"waiting for {', '.join(kept.command.name for kept in running)}")
            asked = time.monotonic()
            while any(kept.has_time(asked) for kept in running) and self._signals < 2:
                time.sleep(POLL_SECONDS)
            self._insist(running, asked + APART_SECONDS)
            for kept in stage:
                kept.kill()

    def _insist(self, running: Sequence["_Kept"], earliest: float) -> None:
        """Ask those that are left once more, not before then, and wait a few seconds for their end."""
        self._wait(running, earliest)
        left = [kept for kept in running if kept.ask_to_end()]
        if left:
            self._say(f"no longer waiting for {', '.join(kept.command.name for kept in left)}")
        self._wait(left, time.monotonic() + LAST_SECONDS)

    def _wait(self, running: Sequence["_Kept"], until: float) -> None:
        """Until all have ended, or until then, or a third signal."""
        while any(kept.runs for kept in running) and time.monotonic() < until and self._signals < 3:
            time.sleep(POLL_SECONDS)

    @contextmanager
    def _handled(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stop()


class _Kept:
    """One process, as often as it has to be started."""

    def __init__(self, command: Command, say: Callable[[str], None]) -> None:
        self.command = command
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._quick = 0
        self._next = 0.0

    def start(self) -> None:
        # Imported here: the client needs nothing of the store.
        from unitrank_store.redis.die_with_parent import dying_with_parent

        self._started = time.monotonic()
        self._process = subprocess.Popen(
            dying_with_parent(list(self.command.words), signal.SIGKILL),
            env={**os.environ, **self.command.environment},
            stdin=subprocess.DEVNULL,
            # A Ctrl-C in the terminal is for the supervisor alone: it decides the order.
            start_new_session=True,
        )

    def keep(self) -> None:
        """Start it again when it has ended and its time has come. Raises GivenUp."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._next:
                self.start()
        elif self._has_ended():
            self._bury(self._reap(), now)

    def ask_to_end(self) -> bool:
        """Whether there is something to wait for."""
        if self._process is None or self._has_ended():
            return False
        self._process.terminate()
        return True

    @property
    def runs(self) -> bool:
        return not self._has_ended()

    def has_time(self, asked: float) -> bool:
        """Whether it still runs, and may."""
        return self.runs and time.monotonic() - asked < self.command.drain_seconds

    def kill(self) -> None:
        """End it, and all that it started in its group."""
        if self._process is None:
            return
        if not self._has_ended():
            self._say(f"{self.command.name} did not end in time and is killed")
        self._reap()

    def _bury(self, code: int, now: float) -> None:
        self._quick = self._quick + 1 if now - self._started < SOUND_SECONDS else 0
        limit = self.command.quick_ends
        if limit is not None and self._quick and code == NOT_POSSIBLE:
            raise GivenUp(f"{self.command.name} cannot run as it was told to", NOT_POSSIBLE)
        if limit is not None and self._quick >= limit:
            raise GivenUp(f"{self.command.name} ended with {_spoken(code)}, {self._quick} times soon after its start")
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** max(0, self._quick - 1))
        self._say(f"{self.command.name} ended with {_spoken(code)}; it is started again in {delay:g} s")
        self._next = now + delay

    def _has_ended(self) -> bool:
        """Looks without reaping: until then nothing else can get its number, or its group's."""
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


def _spoken(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
