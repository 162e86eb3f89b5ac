"""An attempt as the worker sees it, whatever the kind of its record."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import structlog

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import Full, RecordNotFound, SizeExceeded
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability import tracing
from unitrank_worker.problem import INTERNAL, problem
from unitrank_worker.process.channel import Message

log = structlog.get_logger()

Patiently = Callable[[Callable[[], Any]], Any]
"""Calls a function again while the store is away. Any: whatever the function returns."""


@dataclass(frozen=True)
class Order:
    """An attempt as the child gets it. The files are closed once they are sent."""

    content: Json
    files: Sequence[BinaryIO]

    def close(self) -> None:
        """Close the files of an order that is not sent."""
        for file in self.files:
            file.close()


class Attempt(Protocol):
    """One attempt at a record, from the order to its end."""

    record: JobRecord

    def order(self, warm: Collection[str]) -> Order:
        """What the child needs; `warm`: the digests of the models that it holds. Raises CannotRun, Full and RedisError."""
        ...

    def take(self, message: Message) -> Message | None:
        """Do as the message says; returns the answer to a question of the child. Raises RedisError."""
        ...

    @property
    def unwanted(self) -> bool:
        """Whether the record was seen to be cancelled, or given to another attempt."""
        ...

    def finish(self, status: Status, problem: Json | None, patiently: Patiently) -> None:
        """Write the end into the record, with what the child has sent until then."""
        ...

    def abandon(self) -> None:
        """The child is gone: delete the bytes that it has sent."""
        ...


class CannotRun(Exception):
    """The attempt ends before the child sees it; `code` and `detail` make the problem."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def opened(blobs: BlobStore, digests: Sequence[str], gone: Sequence[tuple[str, str]]) -> list[BinaryIO]:
    """The contents as open files, in order; `gone`: the problem where one is missing. Raises CannotRun."""
    files: list[BinaryIO] = []
    try:
        for index, digest in enumerate(digests):
            try:
                files.append(blobs.path(digest).open("rb"))
            except (RecordNotFound, FileNotFoundError) as error:
                if index < len(gone):
                    raise CannotRun(*gone[index]) from error
                raise
    except BaseException:
        for file in files:
            file.close()
        raise
    return files


def problem_of(error: Exception) -> Json:
    """The problem of an attempt that the parent could not begin or could not end."""
    if isinstance(error, CannotRun):
        return problem(error.code, error.detail)
    if isinstance(error, SizeExceeded):
        return problem("result_too_large", f"the result is too large: {error}")
    if isinstance(error, Full):
        return problem("storage_full", f"the result could not be stored: {error}", status=503, retryable=True)
    log.error("failed", exc_info=error)
    return INTERNAL


def log_end(status: Status, accepted: bool) -> None:
    """One line in the log and an attribute of the span; `accepted`: whether the record took the end."""
    tracing.note(status=status)
    log.info("ended", status=status, accepted=accepted)
