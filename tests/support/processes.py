"""Runs `unitrank` commands, and finds their processes."""

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
    """A folder whose path is short enough for a socket; the paths of pytest may be too long."""
    with tempfile.TemporaryDirectory(prefix="ur-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "unitrank", *words]


def run(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command and wait until it ends."""
    return subprocess.run(command(*words), env=environment, capture_output=True, text=True, check=False)


def alive_with(text: str) -> list[list[str]]:
    """Command lines of the processes with this text in their command line or `UNITRANK_STATE`."""
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
    """Wait until no process has this text. Raises AssertionError after `END_SECONDS`."""
    wait_until(lambda: not alive_with(text), f"no process names {text}", seconds=END_SECONDS)


def line_with(text: str, lines: Iterator[str]) -> str:
    """The first line with this text. Raises AssertionError if the lines end without it."""
    lines_before = []
    for line in lines:
        lines_before.append(line)
        if text in line:
            return line
    raise AssertionError(f"no line has {text!r}; the lines are:\n{''.join(lines_before)}")
