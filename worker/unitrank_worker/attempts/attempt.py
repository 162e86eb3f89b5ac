"""The interface of attempts, and the functions that all kinds of attempts use."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol

import structlog

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import Corrupt, RecordNotFound, SizeExceeded
from unitrank_store.full import full_reason
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability import tracing
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.problem import INTERNAL, problem
from unitrank_worker.process.channel import Message

log = structlog.get_logger()

Retry = Callable[[Callable[[], Any]], Any]
"""Calls a function again until the store answers. Any: the value that the function returns."""


Answer = Message | Callable[[], Message] | None
"""The answer to a message of the child.

A function computes the answer; it can take long, so the caller runs it in the background.
"""


@dataclass(frozen=True)
class Order:
    """The message that starts an attempt in the child. Its files are closed after sending.

    `head`: the job for other nodes, if it may be divided; None for work of one process.
    `must_divide`: whether the attempt fails if no node can compute.
    """

    content: Json
    files: Sequence[BinaryIO]
    head: JobHead | None = None
    must_divide: bool = False

    def close(self) -> None:
        """Close the files of an order that was not sent."""
        for file in self.files:
            file.close()


class Attempt(Protocol):
    """An attempt at a record, from its order to its end."""

    record: JobRecord

    def order(self, warm: Collection[str]) -> Order:
        """The order for the child. `warm`: digests of the models that the child has in memory.

        Raises CannotRun, RecordNotFound, FileNotFoundError, Full and RedisError.
        """
        ...

    def take(self, message: Message) -> Answer:
        """Handle a message of the child, and return the answer to a question. Raises RedisError."""
        ...

    @property
    def unwanted(self) -> bool:
        """Whether the record was cancelled, or given to another attempt."""
        ...

    @property
    def ends_quickly(self) -> bool:
        """Whether `finish` only sends a few small commands to the store."""
        ...

    def finish(self, status: Status, problem: Json | None, retry: Retry) -> None:
        """Write the end into the record, with the results that the child sent."""
        ...

    def abandon(self) -> None:
        """Delete the bytes that the child sent. Called when the child has ended."""
        ...


class CannotRun(Exception):
    """Raised if an attempt fails before the child gets it.

    `code`, `detail`, `status`: its problem.
    """

    def __init__(self, code: str, detail: str, status: int = 422) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status


class OpenBlobs(NamedTuple):
    """Blobs as open files. `chunks`: for each dataset in turn, the digests of its chunks."""

    files: list[BinaryIO]
    chunks: list[Json]


def opened(blobs: BlobStore, digests: Sequence[str], missing: Sequence[tuple[str, str]], kinds: Sequence[str]) -> OpenBlobs:
    """The blobs as open files, in the order of `digests`. Their bytes have these digests.

    The reader of a dataset verifies the chunks that it reads.
    `missing`: for each digest, code and detail of the problem if its file is missing.
    `kinds`: for each digest, `dataset` or `model`.
    Raises CannotRun. Raises RecordNotFound or FileNotFoundError for a digest without such a pair.
    """
    files: list[BinaryIO] = []
    chunks: list[Json] = []
    try:
        for index, digest in enumerate(digests):
            try:
                if kinds[index] == "dataset":
                    chunk_digests, file = blobs.open_chunked(digest)
                    chunks.append(chunk_digests.to_json())
                else:
                    file = blobs.open_verified(digest)
                files.append(file)
            except Corrupt as error:
                log.error("damaged blob", digest=digest, reason=str(error))
                raise _damaged(kinds[index]) from error
            except (RecordNotFound, FileNotFoundError) as error:
                if index < len(missing):
                    raise CannotRun(*missing[index]) from error
                raise
    except BaseException:
        for file in files:
            file.close()
        raise
    return OpenBlobs(files, chunks)


def _damaged(kind: str) -> CannotRun:
    if kind == "dataset":
        detail = "the stored bytes of the dataset are damaged; upload the dataset again, then submit the job again"
        return CannotRun("dataset_corrupt", detail, status=500)
    detail = "the stored bytes of the model are damaged; upload the model again, then submit the job again"
    return CannotRun("model_corrupt", detail, status=500)


def problem_of(error: Exception) -> Json:
    """The problem of an attempt that the parent could not start or could not finish."""
    if isinstance(error, CannotRun):
        return problem(error.code, error.detail, status=error.status)
    if isinstance(error, SizeExceeded):
        return problem("result_too_large", f"the result is too large: {error}")
    if reason := full_reason(error):
        return problem("storage_full", f"the result could not be stored: {reason}", status=503, retryable=True)
    log.error("failed", exc_info=error)
    return INTERNAL


def log_end(status: Status, accepted: bool) -> None:
    """Write the end to the log and to the span. `accepted`: whether the record took the end."""
    tracing.note(status=status)
    log.info("ended", status=status, accepted=accepted)
