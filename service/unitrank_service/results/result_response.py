"""The result of a job in the type that a client prefers."""

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
"""Status of a job that ended without a result → why there is none."""


@dataclass(frozen=True)
class Selection:
    """The part of a result that a request asks for; None: all clusters, all rankings, the usual number of units."""

    cluster: str | None = None
    ranking: str | None = None
    top: int | None = None


def result_response(
    request: Request, id: str, accept: str, selection: Selection, *, jobs: JobStore, results: ResultStore
) -> Response:
    """Raises HttpProblem where there is no result, where no type is accepted, or where a selected name is not in the result."""
    kind = negotiated(accept)
    stored = StoredResult(jobs.get(id), results, jobs.result_ttl)
    cluster, ranking, top = selection.cluster, selection.ranking, selection.top
    if kind == JSON:
        return answer(request, narrowed(stored.summary(), cluster, ranking, top, stored.arrays), headers={"Vary": "Accept"})
    if kind == CSV:
        rows = csv_rows(stored.summary(), stored.arrays(), cluster, ranking, top)
        part = hashlib.sha256(repr((cluster, ranking, top)).encode()).hexdigest()[:16]
        return _whole(request, rows, kind, {"ETag": f'"{id}.csv.{part}"', "Vary": "Accept"})
    suffix = {SAFETENSORS: "safetensors", NPZ: "npz"}[kind]
    headers = {"ETag": f'"{id}.{suffix}"', "Vary": "Accept", "Content-Disposition": f'attachment; filename="{id}.{suffix}"'}
    chunks = stored.safetensors() if kind == SAFETENSORS else _npz(stored.arrays())
    return _whole(request, chunks, kind, headers)


def _whole(request: Request, chunks: Iterator[bytes], kind: str, headers: dict[str, str]) -> Response:
    """The whole body, or 304 where the client has it: a result never changes."""
    if client_has(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return StreamingResponse(chunks, media_type=kind, headers=headers)


class StoredResult:
    """The result of a job. Raises HttpProblem where there is none, not yet or no longer."""

    def __init__(self, record: JobRecord, results: ResultStore, result_ttl: int) -> None:
        """`result_ttl`: seconds that results are kept."""
        self._results = results
        self._result_ttl = result_ttl
        self._id = record.id
        if not record.ended:
            raise HttpProblem("not_finished", f"the job {record.id} is {record.status}; its result comes when it has succeeded")
        if record.status in REASONS:
            why = (record.problem or {}).get("detail") or record.status
            raise HttpProblem(REASONS[record.status], f"the job {record.id} has no result: {why}")
        if record.result is None or (record.expires_at or 0) < time.time():
            raise self._expired()
        # The record holds the location as JSON.
        self._location = cast(ResultLocation, record.result)

    def summary(self) -> Json:
        with self._kept():
            return self._results.summary(self._location)

    def arrays(self) -> Arrays:
        with self._kept():
            return self._results.arrays(self._location)

    def safetensors(self) -> Iterator[bytes]:
        with self._kept():
            return self._results.arrays_bytes(self._location)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except RecordNotFound as error:
            raise self._expired() from error

    def _expired(self) -> HttpProblem:
        detail = f"the result of the job {self._id} was kept for {self._result_ttl} s and is gone; post the job again"
        return HttpProblem("expired", detail)


def _npz(arrays: Arrays) -> Iterator[bytes]:
    with tempfile.SpooledTemporaryFile(32 * MiB) as file:
        write_npz(cast(BinaryIO, file), arrays)
        file.seek(0)
        while chunk := file.read(MiB):
            yield chunk
