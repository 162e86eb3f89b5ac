"""Reads content from a URI within a deadline, in a thread that can be abandoned."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from unitrank_schemas.base import Json
from unitrank_schemas.problems import JobProblem
from unitrank_store.blobs.blob_store import BlobWriter
from unitrank_store.blobs.sources import Source
from unitrank_store.errors import RecordNotFound

WATCH_SECONDS = 0.2
"""Seconds between two checks of the deadline and of the stop signal."""
NEEDED_SECONDS = 2.0
"""Seconds between two reads of the store, which show whether the content was deleted."""


class ImportRejected(Exception):
    """The content cannot be read, or is invalid. `problem` is the reason as JSON."""

    def __init__(self, code: str, detail: str, retryable: bool = False) -> None:
        super().__init__(detail)
        self.problem: Json = JobProblem(
            code=code, title=code.replace("_", " ").capitalize(), detail=detail, retryable=retryable
        ).model_dump(mode="json")


class FetchStopped(Exception):
    """The service ends. The import stays in the store, and another service reads it again."""


@dataclass(frozen=True)
class FetchDeadline:
    """The conditions under which an import continues.

    `started`: the time at which it started, as `time.monotonic` gives it.
    `seconds`: the seconds that it may take.
    `stop`: set when the service ends.
    `is_needed`: returns False if the content was deleted in the meantime.
    """

    started: float
    seconds: float
    stop: threading.Event
    is_needed: Callable[[], bool]

    def check(self) -> None:
        """Raises FetchStopped if the service ends, and ImportRejected after the deadline."""
        if self.stop.is_set():
            raise FetchStopped
        if time.monotonic() > self.started + self.seconds:
            detail = f"the import took longer than {self.seconds:g} s, the limit that the operator set (UNITRANK_IMPORT_TIMEOUT)"
            raise ImportRejected("import_timed_out", detail, retryable=True)


class DeadlineWriter:
    """A writer that checks the deadline before each piece of data."""

    def __init__(self, writer: BlobWriter, deadline: FetchDeadline) -> None:
        self._writer = writer
        self._deadline = deadline

    def write(self, data: bytes) -> int:
        self._deadline.check()
        return self._writer.write(data)

    def flush(self) -> None:
        self._writer.flush()


def run_in_time(deadline: FetchDeadline, work: Callable[[], None]) -> None:
    """Run `work` in a thread until it ends or the deadline passes, and raise its error here.

    The thread is abandoned if a driver hangs. `work` must check the deadline before it stores
    anything, so that an abandoned thread changes nothing.
    Raises the errors of `FetchDeadline.check`, and RecordNotFound if the content was deleted.
    """
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="import", daemon=True).start()
    last_check = time.monotonic()
    while not done.wait(WATCH_SECONDS):
        deadline.check()
        if time.monotonic() > last_check + NEEDED_SECONDS:
            last_check = time.monotonic()
            if not deadline.is_needed() and not done.is_set():
                raise RecordNotFound("the content was deleted during its import")
    if errors:
        raise errors[0]


def copy(source: Source, writer: BlobWriter, deadline: FetchDeadline) -> None:
    """Copy a file to the writer.

    Raises the errors of `FetchDeadline.check`, and ImportRejected for an empty file.
    """
    for piece in source.pieces():
        deadline.check()
        writer.write(piece)
    if writer.size == 0:
        raise ImportRejected("empty_body", f"the file {source.name!r} is empty")
