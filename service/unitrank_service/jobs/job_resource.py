"""A job as a resource of the API: its JSON body, waiting, cancelling, deleting, and its events."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast

import redis
import redis.asyncio

from unitrank_schemas.base import Json
from unitrank_schemas.jobs import checked_metadata
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.authentication import wrong_key
from unitrank_service.http.responses import encoded, moment
from unitrank_service.http.wait_limits import WaitLimits
from unitrank_store.access.api_keys import Key, is_stored
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.jobs.events import follow, wait_until_ended
from unitrank_store.jobs.idempotency import EarlierJobs
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.queue.rq_queue import positions, withdraw
from unitrank_store.results.result_store import ResultLocation, ResultStore

KEEP_ALIVE = 10.0
"""Seconds without an event after which a comment is sent."""
LOOK_SECONDS = 3.0
"""Seconds after which a waiting request checks whether the service ends or the key was revoked."""
KEY_SECONDS = 2.0
"""Seconds after which a stream of events checks again whether its key was revoked."""


def job_body(record: JobRecord, connection: redis.Redis, root_path: str) -> bytes:
    """Return the record as JSON that follows `unitrank_schemas.jobs.Job`.

    `root_path`: path prefix of its links.
    """
    return job_bodies([record], connection, root_path)[0]


def job_bodies(records: Sequence[JobRecord], connection: redis.Redis, root_path: str) -> list[bytes]:
    """Return one JSON object for each record. All positions in the queue are read at once."""
    ahead = positions(connection, [record for record in records if not record.waiting_for])
    return [_body(record, ahead.get(record.id), root_path) for record in records]


def _body(record: JobRecord, ahead: int | None, root_path: str) -> bytes:
    """Return the record as JSON. It contains the stored request, which was checked already.

    `ahead`: number of jobs before this one in the queue; None for a job that is in no queue.
    """
    path = f"{root_path}/v1/jobs/{record.id}"
    if ahead is None and not record.ended and not record.waiting_for:
        # A worker has taken the job out of the queue, but has not written its state yet.
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
        "summary": record.summary,
        "submitted_by": (record.listing or {}).get("submitted_by") or None,
        "links": {"self": path, "result": f"{path}/result", "events": f"{path}/events", "report": f"{path}/report"},
    }
    return encoded(state)[:-1] + b',"request":' + record.request_text.encode() + b"}"


async def ended_within(id: str, seconds: float, key: Key, *, follower: redis.asyncio.Redis, stopping: Callable[[], bool]) -> None:
    """Return when the job has ended, after `seconds`, or when the service is `stopping`.

    Returns at once for a job that does not exist, or that the tenant of `key` does not have: the
    time of an answer must not reveal the jobs of other tenants. `key`: key of the request.
    Raises HttpProblem within `LOOK_SECONDS` after the key was revoked.
    """
    deadline = time.monotonic() + seconds
    while (seconds_left := deadline - time.monotonic()) > 0 and not stopping():
        ended = await wait_until_ended(follower, id, min(seconds_left, LOOK_SECONDS), tenant=key.tenant)
        if not await is_stored(follower, key.id):
            raise wrong_key()
        if ended:
            return


def cancelled(id: str, *, jobs: JobStore, connection: redis.Redis) -> JobRecord:
    """Request the cancellation and return the record.

    A job that has not started leaves the queue at once. An ended job stays as it is.
    """
    record = jobs.cancel(id)
    if record.status == "cancelled" and record.attempt == 0:
        withdraw(connection, "job", record)
    return record


def with_metadata(id: str, changes: Json, jobs: JobStore) -> JobRecord:
    """Set or (null) remove entries of the job's metadata, and return the record.

    Raises RecordNotFound, and InvalidBody if the metadata become too large.
    """

    def edited(metadata: Json) -> Json:
        kept = {key: value for key, value in metadata.items() if key not in changes}
        try:
            return checked_metadata(kept | {key: value for key, value in changes.items() if value is not None})
        except ValueError as error:
            raise InvalidBody([Invalid(pointer="/metadata", detail=f"with these changes the {error}")]) from error

    return jobs.edit_metadata(id, edited)


def delete(id: str, *, jobs: JobStore, earlier_jobs: EarlierJobs, results: ResultStore, datasets: DatasetStore) -> None:
    """Delete an ended job, its result, and the dataset that came inside its request.

    Raises RecordNotFound if the job does not exist, and StateConflict if the job has not ended.
    """
    record = jobs.delete(id)
    earlier_jobs.forget(record)
    if record.result is not None:
        # The record holds the location as JSON.
        results.delete(cast(ResultLocation, record.result))
    if record.resolved["dataset"]["name"] is None:
        datasets.release(record.resolved["dataset"]["digest"], id)


async def event_lines(
    record: JobRecord, after: str, key: str, *, follower: redis.asyncio.Redis, wait_limits: WaitLimits
) -> AsyncIterator[bytes]:
    """Yield the job's server-sent events after the event id `after`, until the job has ended.

    A comment is sent every `KEEP_ALIVE` seconds, so that proxies keep the connection open.
    `key`: id of the request's key. The stream ends within 5 s after the key was revoked.
    """
    try:
        with wait_limits.hold(key):
            async for line in _event_lines(record, after, key, follower):
                yield line
    except HttpProblem:
        # Other requests have reached the key's limit since the check. The client connects again.
        return


async def _event_lines(record: JobRecord, after: str, key: str, follower: redis.asyncio.Redis) -> AsyncIterator[bytes]:
    # An ended job gets no new events, so one short read of the stored events is enough.
    block_seconds = 0.05 if record.ended else KEY_SECONDS
    sent = checked = time.monotonic()
    async for event in follow(follower, record.id, after, block_seconds=block_seconds):
        now = time.monotonic()
        if event is None or now - checked >= KEY_SECONDS:
            if not await is_stored(follower, key):
                return
            checked = now
        if event is None:
            if record.ended:
                return
            if now - sent >= KEEP_ALIVE:
                sent = now
                yield b": waiting\n\n"
        else:
            sent = now
            data = event.data | ({"at": moment(event.data["at"])} if event.kind == "status" else {})
            yield f"id: {event.id}\nevent: {event.kind}\ndata: ".encode() + encoded(data) + b"\n\n"
