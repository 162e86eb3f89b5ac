"""A job as the client sees it."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import cast

from fastapi import Request

from unitrank_service.backend import Backend, backend_of, key_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import encoded, moment
from unitrank_service.jobs.deduplication import forget
from unitrank_store.jobs.events import follow, wait_until_ended
from unitrank_store.jobs.record import JobRecord
from unitrank_store.queue.rq_queue import positions, withdraw
from unitrank_store.results.result_store import ResultLocation

KEEP_ALIVE = 10.0
LOOK_SECONDS = 3.0


def job_body(backend: Backend, record: JobRecord) -> bytes:
    """JSON after `unitrank_schemas.jobs.Job`."""
    return job_bodies(backend, [record])[0]


def job_bodies(backend: Backend, records: Sequence[JobRecord]) -> list[bytes]:
    """Of each one; where they stand in the queue is asked for all of them at once."""
    ahead = positions(backend.connection, [record for record in records if not record.waiting_for])
    return [_body(record, ahead.get(record.id)) for record in records]


def _body(record: JobRecord, ahead: int | None) -> bytes:
    """The request was checked when it was accepted, and goes out as it is stored."""
    at = f"/v1/jobs/{record.id}"
    if ahead is None and not record.ended and not record.waiting_for:
        # A worker has just taken the next one out of the queue, and does not say so yet.
        ahead = 0
    state = {
        "id": record.id,
        "status": record.status,
        "attempt": record.attempt,
        "created_at": moment(record.created_at),
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at),
        "expires_at": moment(record.expires_at),
        "position": ahead,
        "progress": record.progress,
        "problem": record.problem,
        "worker": record.worker,
        "links": {"self": at, "result": f"{at}/result", "events": f"{at}/events", "report": f"{at}/report"},
    }
    return encoded(state)[:-1] + b',"request":' + record.request_text.encode() + b"}"


async def ended_within(request: Request, id: str, seconds: float) -> None:
    """Return when the job has ended, after `seconds`, or when the service stops. Raises HttpProblem for one wait too many."""
    backend = backend_of(request)
    deadline = time.monotonic() + seconds
    with backend.wait_limits.one(key_of(request).id):
        while (left := deadline - time.monotonic()) > 0 and not request.app.state.closing:
            if await wait_until_ended(backend.follower, id, min(left, LOOK_SECONDS)):
                return


def cancelled(backend: Backend, id: str) -> JobRecord:
    """The record after the wish; a job that waited leaves the queue at once."""
    record = backend.jobs.cancel(id)
    if record.status == "cancelled" and record.attempt == 0:
        withdraw(backend.connection, "job", record)
    return record


def deleted(backend: Backend, id: str) -> None:
    """Remove an ended job with all that was kept for it alone."""
    record = backend.jobs.delete(id)
    forget(backend, record)
    if record.result is not None:
        # The record holds the manifest as JSON.
        backend.results.delete(cast(ResultLocation, record.result))
    if record.resolved["dataset"]["name"] is None:
        backend.datasets.release(record.resolved["dataset"]["digest"], id)


async def event_lines(backend: Backend, record: JobRecord, after: str, key: str) -> AsyncIterator[bytes]:
    """Server-sent events, and a comment now and then that keeps proxies from hanging up."""
    try:
        with backend.wait_limits.one(key):
            async for line in _event_lines(backend, record, after):
                yield line
    except HttpProblem:
        # Others came since the answer began; the client comes back.
        return


async def _event_lines(backend: Backend, record: JobRecord, after: str) -> AsyncIterator[bytes]:
    # What has ended says nothing new: one short look at what is stored is enough.
    block = 0.05 if record.ended else KEEP_ALIVE
    async for event in follow(backend.follower, record.id, after, block_seconds=block):
        if event is None:
            if record.ended:
                return
            yield b": waiting\n\n"
        else:
            data = event.data | ({"at": moment(event.data["at"])} if event.kind == "status" else {})
            yield f"id: {event.id}\nevent: {event.kind}\ndata: ".encode() + encoded(data) + b"\n\n"
