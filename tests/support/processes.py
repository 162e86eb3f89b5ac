"""Processes of the command line, and what becomes of them."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.polling import wait_until

END_SECONDS = 10.0


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


def wait_until_gone(text: str) -> None:
    """Return once no process names this text. Raises AssertionError where one does after `END_SECONDS`."""
    wait_until(lambda: not alive_with(text), f"no process names {text}", seconds=END_SECONDS)


def line_with(text: str, lines: Iterator[str]) -> str:
    """The first line that holds the text; the process must say it before it ends."""
    seen = []
    for line in lines:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said, but:\n{''.join(seen)}")
