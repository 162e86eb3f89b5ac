"""Jobs: submit, list, wait, cancel, delete, and follow their events."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.base import Page
from unitrank_schemas.jobs import DryRun, Job, JobChange, JobRequest
from unitrank_service.backend import backend_of, key_of
from unitrank_service.http.middleware import is_head
from unitrank_service.http.parameters import After, Id, Limit
from unitrank_service.http.proxies import linked
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer, page
from unitrank_service.jobs.drafts import draft
from unitrank_service.jobs.execution import check_execution
from unitrank_service.jobs.job_list import METADATA_PARAMETERS, Filter
from unitrank_service.jobs.job_resource import cancelled, delete, ended_within, event_lines, job_bodies, job_body, with_metadata
from unitrank_service.jobs.submission import SubmissionContext, submit
from unitrank_service.openapi.descriptions import example, header, problems
from unitrank_service.openapi.examples.jobs import INLINE_JOB_REQUEST, JOB_REQUEST
from unitrank_store.jobs.events import START
from unitrank_store.jobs.record import JobRecord

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Route)

LONGEST_WAIT = 60
"""Seconds that a request may wait for a job."""
BODIES = {
    "by_name": example(JOB_REQUEST, "A stored dataset"),
    "inline": example(INLINE_JOB_REQUEST, "A dataset inside the request"),
}
ACCEPTED = {"headers": {"Location": header("Path of the job."), "Retry-After": header("Seconds until the first poll.", "integer")}}
EARLIER = {
    "model": Job | DryRun,
    "description": "An equal job that has succeeded; with `dry_run` the checked request and an estimate.",
    "headers": {"Location": header("Path of the job.")},
}
Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="A repeated request with the same key and body gets the same job; with another body it is answered 422.",
    ),
]
CacheControl = Annotated[str, Header(description="`no-cache` runs the job again even if an equal job exists.")]
Wait = Annotated[
    float | None,
    Query(ge=0, le=LONGEST_WAIT, description="Seconds that the service waits for the end of the job before it answers."),
]
Prefer = Annotated[str, Header(description="`wait=N` waits N seconds like the parameter `wait`, which takes precedence.")]
DryRunOnly = Annotated[bool, Query(description="Only check the request and estimate its cost; no job is made.")]
LastEvent = Annotated[str, Header(description="Id of the last event that the client has; later events follow.")]


@router.post(
    "",
    status_code=202,
    response_model=Job,
    responses={200: EARLIER, 202: ACCEPTED, **problems(401, 403, 413, 415, 422, 429)},
    openapi_extra={"x-scope": "write"},
)
def post_job(
    request: Request,
    job_request: Annotated[JobRequest, Body(openapi_examples=BODIES)],
    dry_run: DryRunOnly = False,
    idempotency_key: Key = None,
    cache_control: CacheControl = "",
) -> Response:
    """Submit a job.

    The request is checked at once against the model's manifest and the dataset's header. If an
    equal job has succeeded or is unfinished, the answer is that job.
    """
    backend = backend_of(request)
    if dry_run:
        drafted = draft(job_request, request.state.body_bytes, backend.drafts)
        check_execution(drafted.request, backend.workers)
        return answer(request, DryRun(request=drafted.request, estimate=drafted.estimate))
    context = SubmissionContext(
        request_id=request.scope["request_id"],
        key=key_of(request),
        idempotency_key=idempotency_key,
        fresh="no-cache" in cache_control.lower(),
        body_bytes=request.state.body_bytes,
    )
    submission = submit(job_request, context, backend.submissions, metrics=backend.metrics, dispatcher=backend.dispatcher)
    record, body = submission.record, _job_body(request, submission.record)
    headers = {"Location": linked(request, f"/v1/jobs/{record.id}")}
    return answer(request, body, 200, headers) if record.ended else answer(request, body, 202, headers | {"Retry-After": "1"})


@router.get("", response_model=Page[Job], responses=problems(401, 403, 422), openapi_extra=METADATA_PARAMETERS)
def list_jobs(request: Request, filter: Filter, limit: Limit = 50, after: After = None) -> Response:
    """List the jobs, the newest first.

    All filters must hold. A page may have fewer jobs than `limit`, or none, while `next` is not
    null: the search goes on with `?after=`.
    """
    backend = backend_of(request)
    records, cursor = backend.jobs.list(limit, after, filter=filter)
    return page(job_bodies(records, backend.connection, request.scope["root_path"]), cursor)


@router.get("/{id}", response_model=Job, responses=problems(401, 403, 404, 422, 429))
async def get_job(request: Request, id: Id, wait: Wait = None, prefer: Prefer = "") -> Response:
    """Get a job.

    With `wait` or `Prefer: wait=N` the service answers when the job has ended, or after N seconds.
    """
    backend, key = backend_of(request), key_of(request)
    seconds = wait if wait is not None else _preferred(prefer)
    if seconds and not is_head(request.scope):
        if backend.wait_limits.is_reached(key.id):
            # A job that does not exist is 404, like without `wait`.
            await run_in_threadpool(backend.jobs.get, id)
        with backend.wait_limits.hold(key.id):
            await ended_within(id, seconds, key, follower=backend.follower, stopping=lambda: bool(request.app.state.closing))
    return answer(request, await run_in_threadpool(lambda: _job_body(request, backend.jobs.get(id))))


@router.patch("/{id}", response_model=Job, responses=problems(401, 403, 404, 413, 415, 422), openapi_extra={"x-scope": "write"})
def patch_job(request: Request, id: Id, change: JobChange) -> Response:
    """Change the metadata of a job: its title, tags and notes.

    The job's request shows the new metadata. Equal requests still get this job.
    """
    record = with_metadata(id, change.metadata, backend_of(request).jobs)
    return answer(request, _job_body(request, record))


@router.post(
    "/{id}/cancel", status_code=202, response_model=Job, responses=problems(401, 403, 404), openapi_extra={"x-scope": "write"}
)
def cancel_job(request: Request, id: Id) -> Response:
    """Cancel a job. A job that has ended stays as it is."""
    backend = backend_of(request)
    record = cancelled(id, jobs=backend.jobs, connection=backend.connection)
    return answer(request, _job_body(request, record), 202, {"Location": linked(request, f"/v1/jobs/{id}")})


@router.delete("/{id}", status_code=204, responses=problems(401, 403, 404, 409), openapi_extra={"x-scope": "write"})
def delete_job(request: Request, id: Id) -> Response:
    """Delete a job that has ended, and its result. Another job is answered 409."""
    backend = backend_of(request)
    delete(id, jobs=backend.jobs, earlier_jobs=backend.earlier_jobs, results=backend.results, datasets=backend.datasets)
    return Response(status_code=204)


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events `status` and `progress`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(401, 403, 404, 429),
    },
)
async def job_events(request: Request, id: Id, last_event_id: LastEvent = "") -> Response:
    """Follow the events of a job until it ends, from its first event or after `Last-Event-ID`."""
    backend, key = backend_of(request), key_of(request).id
    record = await run_in_threadpool(backend.jobs.get, id)
    backend.wait_limits.check(key)
    # An event's id is two 64-bit numbers, as in Redis streams.
    after = last_event_id if re.fullmatch(r"\d{1,19}-\d{1,19}", last_event_id) else START
    lines: AsyncIterator[bytes] = event_lines(record, after, key, follower=backend.follower, wait_limits=backend.wait_limits)
    return StreamingResponse(
        lines, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _job_body(request: Request, record: JobRecord) -> bytes:
    return job_body(record, backend_of(request).connection, request.scope["root_path"])


def _preferred(prefer: str) -> float:
    """The seconds of `Prefer: wait=N` (RFC 7240), at most `LONGEST_WAIT`; 0 without them."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", prefer, re.IGNORECASE)
    return min(float(match[1]), LONGEST_WAIT) if match else 0.0
