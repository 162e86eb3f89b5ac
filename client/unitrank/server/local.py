"""Runs `unitrank up` in a process of its own for the length of a `with` block."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from unitrank.addresses import claim_port, url_of
from unitrank.client.sync import Client
from unitrank.errors import UnitrankError

HOST = "127.0.0.1"
START_SECONDS = 120.0
DRAIN_SECONDS = 3.0
END_SECONDS = 20.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Local:
    """A service that was started for a `with` block.

    Attributes:
        url: address of the service.
        log: the file with the output of the service and its workers.
        process: the process of `unitrank up`.
    """

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def await_ready(self, client: Client) -> None:
        """Waits until jobs can run. Raises UnitrankError with the end of the log after 120 s."""
        deadline = time.monotonic() + START_SECONDS
        while not client.is_ready():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                reason = "ended early" if ended else f"was not ready within {START_SECONDS:.0f} s"
                raise UnitrankError(f"`unitrank up` {reason}; the end of its log:\n{self.last_lines()}")
            time.sleep(POLL_SECONDS)

    def last_lines(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def local(folder: Path) -> Iterator[Local]:
    """Starts `unitrank up` with its state in the folder, and ends it after the block.

    The service may not answer yet: `await_ready` waits for it.
    """
    port = claim_port(HOST, 0)
    # One worker is enough for one small job, and equal machines must print equal numbers.
    options = ["--host", HOST, "--port", str(port), "--state", str(folder / "state"), "--device", "cpu"]
    command_line = [sys.executable, "-P", "-m", "unitrank", "up", *options]
    with _interrupted_by_sigterm():
        process = _start(command_line, folder / "up.log")
        try:
            yield Local(url_of(HOST, port), folder / "up.log", process)
        finally:
            _end(process)


def _start(command_line: list[str], log: Path) -> subprocess.Popen[bytes]:
    from unitrank_store.redis.die_with_parent import dying_with_parent

    # Settings in the environment, such as a store or a key, belong to another service.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"}
    # The jobs are small: on busy cores they took half the time with one thread instead of two.
    environment.setdefault("OMP_NUM_THREADS", "1")
    with log.open("wb") as written:
        return subprocess.Popen(
            dying_with_parent(command_line),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    for seconds in (DRAIN_SECONDS, END_SECONDS):
        # The second signal ends the wait for running jobs.
        process.terminate()
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    process.wait()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that the processes end in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
