"""Reading what lies elsewhere without being held by it: a clock that is asked at every piece, and a thread that can be left."""

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
WANTED_SECONDS = 2.0


class ImportRejected(Exception):
    """What was read cannot be taken."""

    def __init__(self, code: str, detail: str, retryable: bool = False) -> None:
        super().__init__(detail)
        self.problem: Json = JobProblem(
            code=code, title=code.replace("_", " ").capitalize(), detail=detail, retryable=retryable
        ).model_dump(mode="json")


class FetchStopped(Exception):
    """The service ends; what was to be read still is."""


@dataclass(frozen=True)
class FetchDeadline:
    """Asked now and then while bytes come in, and by who waits for them."""

    deadline: float
    stop: threading.Event
    is_wanted: Callable[[], bool]

    def check(self) -> None:
        """Raises FetchStopped, or ImportRejected when it takes too long."""
        if self.stop.is_set():
            raise FetchStopped
        if time.monotonic() > self.deadline:
            raise ImportRejected("import_timed_out", "reading it took longer than the operator allows", retryable=True)


class DeadlineWriter:
    """A writer that asks the clock."""

    def __init__(self, writer: BlobWriter, deadline: FetchDeadline) -> None:
        self._writer = writer
        self._deadline = deadline

    def write(self, data: bytes) -> int:
        self._deadline.check()
        return self._writer.write(data)

    def flush(self) -> None:
        self._writer.flush()


def in_time(deadline: FetchDeadline, work: Callable[[], None]) -> None:
    """Do it in a thread that is left alone where a driver hangs: what it would still bring is then not wanted any more."""
    failed: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="import", daemon=True).start()
    looked = time.monotonic()
    while not done.wait(WATCH_SECONDS):
        deadline.check()
        if time.monotonic() > looked + WANTED_SECONDS:
            looked = time.monotonic()
            if not deadline.is_wanted() and not done.is_set():
                raise RecordNotFound("deleted while it was read")
    if failed:
        raise failed[0]


def pour(source: Source, writer: BlobWriter, deadline: FetchDeadline) -> None:
    for piece in source.pieces():
        deadline.check()
        writer.write(piece)
    if writer.size == 0:
        raise ImportRejected("empty_body", f"{source.name!r} is empty")
