"""Processes of the command line, and what becomes of them."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PATIENCE = 90.0


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name, which pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="ur-", ignore_cleanup_errors=True) as place:
        yield Path(place)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "unitrank", *words]


def run(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run(command(*words), env=environment, capture_output=True, text=True, check=False)


def alive_with(text: str) -> list[list[str]]:
    """Command lines of all processes that name this text, this process left out."""
    command_lines = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            texts = [*words, process.environ().get("UNITRANK_STATE", "")]
        except psutil.Error:
            continue
        if any(text in word for word in texts) and process.status() != psutil.STATUS_ZOMBIE:
            command_lines.append(words)
    return command_lines


def gone(text: str) -> bool:
    """Whether all of them end within a short while."""
    deadline = time.monotonic() + 10
    while alive_with(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition holds within `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def line_with(text: str, lines: Iterator[str]) -> str:
    """The first line that holds the text; the process must say it before it ends."""
    seen = []
    for line in lines:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said, but:\n{''.join(seen)}")
