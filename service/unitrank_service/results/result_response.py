"""The HTTP response with the result of a job, in the media type that the client prefers."""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from unitrank_schemas.base import Json
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import answer, client_has
from unitrank_service.results.formats import CSV, JSON, NPZ, SAFETENSORS, csv_rows, negotiated
from unitrank_service.results.summary import Arrays, narrowed
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.results.result_store import ResultLocation, ResultStore
from unitrank_tables.formats.npz_writer import write_npz
from unitrank_tables.sizes import MiB

REASONS = {"failed": "job_failed", "cancelled": "job_cancelled", "timed_out": "job_timed_out"}
"""Status of a job that ended without a result → the code of the problem."""


@dataclass(frozen=True)
class Selection:
    """The part of a result that a request selects.

    `cluster`, `ranking`: a name, or None for all.
    `top`: units per ranking, or None for those of the summary.
    """

    cluster: str | None = None
    ranking: str | None = None
    top: int | None = None


def result_response(
    request: Request, id: str, accept: str, selection: Selection, *, jobs: JobStore, results: ResultStore
) -> Response:
    """Return the selected part of the result of the job `id`. `accept`: value of the header.

    Raises HttpProblem where the job has no result, where no type is acceptable, or where a selected
    name is not in the result.
    """
    kind = negotiated(accept)
    stored = StoredResult(jobs.get(id), results, jobs.result_ttl)
    cluster, ranking, top = selection.cluster, selection.ranking, selection.top
    if kind == JSON:
        return answer(request, narrowed(stored.summary(), cluster, ranking, top, stored.arrays), headers={"Vary": "Accept"})
    if kind == CSV:
        rows = csv_rows(stored.summary(), stored.arrays(), cluster, ranking, top)
        part = hashlib.sha256(repr((cluster, ranking, top)).encode()).hexdigest()[:16]
        return _streamed(request, rows, kind, {"ETag": f'"{id}.csv.{part}"', "Vary": "Accept"})
    suffix = {SAFETENSORS: "safetensors", NPZ: "npz"}[kind]
    headers = {"ETag": f'"{id}.{suffix}"', "Vary": "Accept", "Content-Disposition": f'attachment; filename="{id}.{suffix}"'}
    chunks = stored.safetensors() if kind == SAFETENSORS else _npz(stored.arrays())
    return _streamed(request, chunks, kind, headers)


def _streamed(request: Request, chunks: Iterator[bytes], kind: str, headers: dict[str, str]) -> Response:
    """The streamed chunks, or 304 where the client has them already. A result never changes."""
    if client_has(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return StreamingResponse(chunks, media_type=kind, headers=headers)


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

    def summary(self) -> Json:
        """Return the summary, after `unitrank_schemas.results.Result`."""
        with self._expiring():
            return self._results.summary(self._location)

    def arrays(self) -> Arrays:
        """Return all arrays by name."""
        with self._expiring():
            return self._results.arrays(self._location)

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


def _npz(arrays: Arrays) -> Iterator[bytes]:
    with tempfile.SpooledTemporaryFile(32 * MiB) as file:
        write_npz(cast(BinaryIO, file), arrays)
        file.seek(0)
        while chunk := file.read(MiB):
            yield chunk
