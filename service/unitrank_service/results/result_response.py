"""The result of a job in the type that a client prefers."""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from unitrank_schemas.base import Json
from unitrank_service.backend import Backend
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import answer, known
from unitrank_service.results.formats import CSV, JSON, NPZ, SAFETENSORS, csv_rows, negotiated, write_npz
from unitrank_service.results.summary import Arrays, narrowed
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.record import JobRecord
from unitrank_store.results.result_store import ResultLocation
from unitrank_tables.sizes import MiB

REASONS = {"failed": "job_failed", "cancelled": "job_cancelled", "timed_out": "job_timed_out"}
"""Status of a job that ended without a result → why there is none."""


def rendered(
    request: Request, backend: Backend, id: str, accept: str, cluster: str | None, ranking: str | None, top: int | None
) -> Response:
    """Raises HttpProblem where there is no result, no such type, or nothing of that name in it."""
    kind = negotiated(accept)
    stored = StoredResult(backend, backend.jobs.get(id))
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
    """All of it, or 304 where the client has it: what a result is never changes."""
    if known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return StreamingResponse(chunks, media_type=kind, headers=headers)


class StoredResult:
    """What a job has left behind. Raises HttpProblem where that is nothing (yet, or any more)."""

    def __init__(self, backend: Backend, record: JobRecord) -> None:
        self._backend = backend
        self._id = record.id
        if not record.ended:
            raise HttpProblem("not_finished", f"the job {record.id} is {record.status}; its result comes when it has succeeded")
        if record.status in REASONS:
            why = (record.problem or {}).get("detail") or record.status
            raise HttpProblem(REASONS[record.status], f"the job {record.id} has no result: {why}")
        if record.result is None or (record.expires_at or 0) < time.time():
            raise self._expired()
        # The record holds the manifest as JSON.
        self._manifest = cast(ResultLocation, record.result)

    def summary(self) -> Json:
        with self._kept():
            return self._backend.results.summary(self._manifest)

    def arrays(self) -> Arrays:
        with self._kept():
            return self._backend.results.arrays(self._manifest)

    def safetensors(self) -> Iterator[bytes]:
        with self._kept():
            return self._backend.results.arrays_bytes(self._manifest)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except RecordNotFound as error:
            raise self._expired() from error

    def _expired(self) -> HttpProblem:
        kept = self._backend.settings.result_ttl
        return HttpProblem("expired", f"the result of the job {self._id} was kept for {kept} s and is gone; post the job again")


def _npz(arrays: Arrays) -> Iterator[bytes]:
    with tempfile.SpooledTemporaryFile(32 * MiB) as file:
        write_npz(cast(BinaryIO, file), arrays)
        file.seek(0)
        while chunk := file.read(MiB):
            yield chunk
