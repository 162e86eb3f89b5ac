"""The HTTP response with the result of a job, in the media type that the client prefers."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import client_has
from unitrank_service.results.formats import CSV, JSON, NPZ, SAFETENSORS, csv_rows, negotiated, npz_bytes
from unitrank_service.results.summary import Outline, Selection, narrowed
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.results.array_file import ArrayFile
from unitrank_store.results.chunks import CHUNK
from unitrank_store.results.result_store import ResultLocation, ResultStore

REASONS = {"failed": "job_failed", "cancelled": "job_cancelled", "timed_out": "job_timed_out"}
"""Status of a job that ended without a result → the code of the problem."""


async def result_response(
    request: Request, id: str, accept: str, selection: Selection, *, jobs: JobStore, results: ResultStore, threads: CapacityLimiter
) -> Response:
    """Return the selected part of the result of the job `id`. `accept`: value of the header.

    `threads`: the threads that encode results. They are few, because each of them delays the event
    loop, and thus all other requests.
    Raises HttpProblem where the job has no result, where no type is acceptable, or where a selected
    name is not in the result.
    """
    kind = negotiated(accept)
    stored = await run_sync(lambda: StoredResult(jobs.get(id), results, jobs.result_ttl), limiter=threads)
    headers = _headers(id, kind, selection)
    # A result never changes, so its tag need not depend on its bytes.
    if client_has(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    # The first chunk is encoded before the answer begins, so that an error becomes a problem.
    first, others = await run_sync(lambda: _begun(_CHUNKS[kind](stored, selection)), limiter=threads)
    return StreamingResponse(_in_threads(first, others, threads), media_type=kind, headers=headers)


def _headers(id: str, kind: str, selection: Selection) -> dict[str, str]:
    vary = {"Vary": "Accept"}
    if kind in (JSON, CSV):
        part = hashlib.sha256(repr(selection).encode()).hexdigest()[:16]
        cached = {"Cache-Control": "private, no-cache"} if kind == JSON else {}
        return {"ETag": f'"{id}.{kind.rpartition("/")[2]}.{part}"', **vary, **cached}
    suffix = {SAFETENSORS: "safetensors", NPZ: "npz"}[kind]
    return {"ETag": f'"{id}.{suffix}"', **vary, "Content-Disposition": f'attachment; filename="{id}.{suffix}"'}


def _begun(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    return next(chunks, b""), chunks


async def _in_threads(first: bytes, others: Iterator[bytes], threads: CapacityLimiter) -> AsyncIterator[bytes]:
    try:
        yield first
        while (chunk := await run_sync(next, others, None, limiter=threads)) is not None:
            yield chunk
    finally:
        # The client may leave early. Its files are then closed here, not by the garbage collector.
        if isinstance(others, Generator):
            others.close()


class StoredResult:
    """The stored result of a job.

    The class and each method raise HttpProblem where the result does not exist yet, or has expired.
    """

    def __init__(self, record: JobRecord, results: ResultStore, result_ttl: int) -> None:
        """`result_ttl`: seconds after which a result expires."""
        self._results = results
        self._result_ttl = result_ttl
        self._id = record.id
        if not record.ended:
            detail = f"the job {record.id} is {record.status}; it has a result after it has succeeded"
            raise HttpProblem("not_finished", detail)
        if record.status in REASONS:
            reason = (record.problem or {}).get("detail") or record.status.replace("_", " ")
            raise HttpProblem(REASONS[record.status], f"the job {record.id} has no result: {reason}")
        if record.result is None or (record.expires_at or 0) < time.time():
            raise self._expired()
        # The record holds the location as JSON.
        self._location = cast(ResultLocation, record.result)

    def summary_bytes(self) -> Iterator[bytes]:
        """Return the summary as JSON. A summary of one chunk is verified before it is returned."""
        with self._expiring():
            chunks = self._results.summary_bytes(self._location)
            return chunks if self._location["summary_bytes"] > CHUNK else iter([b"".join(chunks)])

    def summary_file(self) -> BinaryIO:
        """Return the summary as a local file, which is verified. Close the file."""
        with self._expiring():
            return self._results.summary_file(self._location)

    def array_file(self) -> ArrayFile:
        """Return all arrays as a local file. Close the file."""
        with self._expiring():
            return self._results.array_file(self._location)

    @contextmanager
    def array_path(self) -> Iterator[Path]:
        """Yield the path of a local file with all arrays, which is verified.

        A result can expire inside the block: a block that then finds no file raises the problem.
        """
        with self._expiring(), self._results.array_path(self._location) as path:
            try:
                yield path
            except FileNotFoundError:
                # Raises RecordNotFound if the result has expired. If not, another file is missing.
                self._results.array_file(self._location).close()
                raise

    def scratch_file(self) -> BinaryIO:
        """Return an empty unnamed file beside the blobs. Close the file."""
        return self._results.scratch_file()

    def safetensors(self) -> Iterator[bytes]:
        """Return all arrays as the bytes of a safetensors file."""
        with self._expiring():
            return self._results.arrays_bytes(self._location)

    @contextmanager
    def _expiring(self) -> Iterator[None]:
        """Turn RecordNotFound into the problem `expired`."""
        try:
            yield
        except RecordNotFound as error:
            raise self._expired() from error

    def _expired(self) -> HttpProblem:
        detail = f"the result of the job {self._id} was deleted after {self._result_ttl} s; submit the job again"
        return HttpProblem("expired", detail)


def _json(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    if selection == Selection():
        return stored.summary_bytes()
    with ExitStack() as stack:
        file = stack.enter_context(stored.summary_file())
        outline = Outline.of(file)
        selection.check(outline.summary)
        arrays = stored.array_file() if selection.needs_arrays(outline) else None
        # From here on `narrowed` closes the file.
        stack.pop_all()
        return narrowed(outline, file, selection, arrays)


def _csv(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    with stored.summary_file() as file:
        summary = Outline.of(file).summary
    selection.check(summary)
    return csv_rows(summary, selection, stored.array_file())


def _npz(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    return npz_bytes(stored.array_file(), stored.scratch_file())


def _safetensors(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    return stored.safetensors()


_CHUNKS: dict[str, Callable[[StoredResult, Selection], Iterator[bytes]]] = {
    JSON: _json,
    CSV: _csv,
    NPZ: _npz,
    SAFETENSORS: _safetensors,
}
"""Media type → the function that encodes a result, chunk by chunk."""
