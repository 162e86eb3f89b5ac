"""A process that answers numbered questions. If the process ends, a new one replaces it."""

import faulthandler
import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

ENDED = "FINDING: the process ended"

Run = TypeVar("Run")
Prepare = Callable[[Run, Path], Callable[[int], str]]
"""Takes the settings of a run and a folder for files, and returns the function that answers."""


class Answering:
    """A process that answers; it ends when one answer takes more than `limit` seconds.

    `prepare`: runs once in the process. Its arguments are `run` and a folder for files.
    `starting`: returns a context manager around each start of the process.
    """

    def __init__(
        self,
        prepare: Prepare[Any],
        run: Any,
        *,
        limit: float,
        starting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._arguments, self._starting = (prepare, run, limit), starting
        self._folder = TemporaryDirectory(prefix="unitrank-fuzz-")
        self._begin()

    def ask(self, number: int) -> str:
        """The answer, or a finding with the traceback of the process that ended."""
        try:
            self._connection.send(number)
            answer: str = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            traces = self._log.read_text(errors="replace") or f"exit status {self._process.exitcode}"
            self._begin()
            return f"{ENDED}, {traces}"
        return answer

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, far = context.Pipe()
        folder = Path(self._folder.name)
        self._log = folder / "log"
        self._process = context.Process(target=_serve, args=(*self._arguments, far, folder, self._log), daemon=True)
        with self._starting():
            self._process.start()
        far.close()
        self._connection.recv()

    def __enter__(self) -> "Answering":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._folder.cleanup()


def _serve(prepare: Prepare[Any], run: Any, limit: float, connection: Connection, folder: Path, log: Path) -> None:
    answer = prepare(run, folder)
    with log.open("w") as file:
        faulthandler.enable(file)
        connection.send("ready")
        while True:
            number = connection.recv()
            # After `limit` seconds a thread writes the traceback and ends the process.
            faulthandler.dump_traceback_later(limit, exit=True, file=file)
            text = answer(number)
            faulthandler.cancel_dump_traceback_later()
            connection.send(text)
