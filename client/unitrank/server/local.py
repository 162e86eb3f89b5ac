"""A service with store and workers for the length of a `with` block: `unitrank up` in a process of its own."""

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
    """The service that was started; `log` holds what its processes say."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def await_ready(self, client: Client) -> None:
        """Return when jobs can be run. Raises UnitrankError with the last words where that does not happen."""
        deadline = time.monotonic() + START_SECONDS
        while not client.is_ready():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended at once" if ended else f"was not ready within {START_SECONDS:.0f} s"
                raise UnitrankError(f"`unitrank up` {what}; its last words:\n{self.last_words()}")
            time.sleep(POLL_SECONDS)

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def local(folder: Path) -> Iterator[Local]:
    """Start it with its state in the folder; it has not yet answered. Nothing of it is left behind."""
    port = claim_port(HOST, 0)
    words = [sys.executable, "-P", "-m", "unitrank", "up", "--host", HOST, "--port", str(port), "--state", str(folder / "state")]
    with _interrupted_by_sigterm():
        process = _start(words, folder / "up.log")
        try:
            yield Local(url_of(HOST, port), folder / "up.log", process)
        finally:
            _end(process)


def _start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    from unitrank_store.redis.die_with_parent import dying_with_parent

    # A store, a key or a limit of the environment is not meant for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"}
    # What is tried out is small: on busy cores it took half the time with one thread as with two.
    environment.setdefault("OMP_NUM_THREADS", "1")
    with log.open("wb") as written:
        return subprocess.Popen(
            dying_with_parent(words),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    for seconds in (DRAIN_SECONDS, END_SECONDS):
        # The second signal says that running jobs are not waited for.
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
    """SIGTERM unwinds the stack as Ctrl-C does, so that what was started ends in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
