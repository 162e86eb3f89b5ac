"""The calls of the service as flows, each of which returns the answer as a schema."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from unitrank.client.http.deadline import NEVER, Deadline
from unitrank.client.http.operations import Flow, HttpRequest, OnBytesSent, pause, send
from unitrank.client.http.retries import PROTOCOL_ERRORS, RETRIED_STATUSES, Retries, send_with_retries
from unitrank.client.lenient import LenientDryRun, LenientJob
from unitrank.client.progress import OnState
from unitrank.client.requests import C, job_path, to_json
from unitrank.errors import NotFound, NotPossible, Timeout, UnitrankError, Unreachable, not_succeeded, refusal
from unitrank.results import parsed_summary
from unitrank_schemas.base import Page, Schema
from unitrank_schemas.class_names import ClassNames
from unitrank_schemas.comparison import JobComparison
from unitrank_schemas.jobs import ENDED, DryRun, Job
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.operations import Readiness, Version, Workers
from unitrank_schemas.problems import Problem
from unitrank_schemas.results import LayeredResult, Result, UnitResult

BYTES = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
NPZ = "application/x-npz"
# Seconds that the service waits for a job's end before it answers (`?wait=`): many if no progress
# is displayed, and few if progress is displayed.
WAIT_SECONDS = 20.0
WATCHED_SECONDS = 0.5
# The pause between two reads of a model that is inspected, which takes about a second.
INSPECTION_SECONDS = 0.15

S = TypeVar("S", bound=Schema)


class Calls:
    """Every call of the HTTP contract. Each raises Timeout after the deadline.

    Args:
        url: the service's address, for the messages of errors.
        retries: how often a request is repeated.
        deadline: when the caller stops waiting.
        clock: returns the time in seconds, for later deadlines.
    """

    def __init__(self, url: str, retries: Retries, deadline: Deadline = NEVER, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._retries = retries
        self._deadline = deadline
        self._clock = clock

    def within(self, timeout: float | None, quiet: bool = False) -> "Calls":
        """The same calls, with a deadline at most `timeout` seconds from now."""
        deadline = self._deadline if timeout is None or timeout >= self._deadline.left else Deadline(timeout, self._clock)
        return Calls(self._url, replace(self._retries, quiet=quiet), deadline, self._clock)

    def put_file(
        self, path: str, file: Path, schema: type[S], on_sent: OnBytesSent, params: Mapping[str, str] | None = None
    ) -> Flow[S]:
        """Uploads the file as a model or dataset."""

        def check_deadline() -> None:
            if self._deadline.passed:
                raise self._timed_out(f"{path.removeprefix('/v1/')} was not uploaded")

        request = HttpRequest("PUT", path, params or {}, BYTES, file=file, before_chunk=check_deadline, on_sent=on_sent)
        return self._read(request, schema)

    def put_uri(self, path: str, uri: str, schema: type[S], params: Mapping[str, str] | None = None) -> Flow[S]:
        """Asks the service to fetch a model or dataset from the URI."""
        return self._read(HttpRequest("PUT", path, params or {}, JSON, to_json({"uri": uri})), schema)

    def until_ready(self, path: str, schema: type[C]) -> Flow[C]:
        """Waits for the model or dataset to be ready. Raises Rejected, Timeout."""
        while (record := (yield from self._read(HttpRequest("GET", path), schema))).status in ("inspecting", "importing"):
            if self._deadline.passed:
                raise self._timed_out(f"{path.removeprefix('/v1/')} is still {record.status}", "not_ready")
            yield from pause(INSPECTION_SECONDS)
        if record.status != "ready":
            raise not_succeeded(f"{schema.__name__.lower()} {record.name}", record.status, record.problem)
        return record

    def get(self, path: str, schema: type[S]) -> Flow[S]:
        """One resource."""
        return self._read(HttpRequest("GET", path), schema)

    def picture(self, path: str, query: Mapping[str, str | list[str]]) -> Flow[bytes]:
        """The bytes of a picture."""
        response = yield from self._response(HttpRequest("GET", path, query, {"Accept": "image/png"}))
        return response.content

    def list_records(self, path: str, schema: type[S], limit: int | None, params: Mapping[str, str] | None = None) -> Flow[list[S]]:
        """The records of a collection, page by page; at most `limit`, or all for None."""
        records: list[S] = []
        query = dict(params or {})
        while limit is None or len(records) < limit:
            query["limit"] = str(min(200, 200 if limit is None else limit - len(records)))
            # mypy cannot check this type, because `schema` is a value.
            page = yield from self._read(HttpRequest("GET", path, query), Page[schema])  # type: ignore[valid-type]
            records += page.items
            if page.next is None:
                break
            query["after"] = page.next
        return records

    def job(self, id: str) -> Flow[Job]:
        """The current state of a job."""
        return self._read(HttpRequest("GET", job_path(id)), LenientJob)

    def jobs(self, limit: int | None, params: Mapping[str, str]) -> Flow[list[Job]]:
        """At most `limit` jobs, the newest first."""
        schema: type[Job] = LenientJob
        return self.list_records("/v1/jobs", schema, limit, params)

    def delete(self, path: str) -> Flow[None]:
        """Deletes a resource. Raises NotFound if it did not exist before the first attempt."""
        reply, attempts = yield from self._attempt(HttpRequest("DELETE", path))
        try:
            self._checked(reply)
        except NotFound:
            # An earlier attempt, whose answer was lost, may have deleted the resource.
            if attempts == 1:
                raise

    def submit(self, body: bytes, fresh: bool, key: str | None) -> Flow[Job]:
        """Submits a job under an idempotency key, so that repeats do not start a second job.

        `key`: the idempotency key; None: a random key. Raises NotPossible for an invalid key.
        """
        if key is not None and not all(" " <= letter <= "~" for letter in key):
            raise NotPossible(
                f"the idempotency key {key!r} is invalid: use printable ASCII characters only", code="invalid_request"
            )
        headers = {**JSON, "Idempotency-Key": key or uuid.uuid4().hex, **({"Cache-Control": "no-cache"} if fresh else {})}
        return self._read(HttpRequest("POST", "/v1/jobs", {}, headers, body), LenientJob)

    def dry_run(self, body: bytes) -> Flow[DryRun]:
        """The checked request and its estimated cost; no job is started."""
        return self._read(HttpRequest("POST", "/v1/jobs", {"dry_run": "true"}, JSON, body), LenientDryRun)

    def edit(self, id: str, metadata: Mapping[str, Any]) -> Flow[Job]:
        """Changes entries of the job's metadata, and returns its state."""
        return self._read(HttpRequest("PATCH", job_path(id), {}, JSON, to_json({"metadata": metadata})), LenientJob)

    def compare(self, ids: Sequence[str]) -> Flow[JobComparison]:
        """The comparison of two to four jobs."""
        return self._read(HttpRequest("GET", "/v1/compare", {"job": list(ids)}), JobComparison)

    def cancel(self, id: str) -> Flow[Job]:
        """Cancels the job, and returns its state."""
        return self._read(HttpRequest("POST", f"{job_path(id)}/cancel"), LenientJob)

    def wait(self, id: str, keep: OnState, watch: OnState | None) -> Flow[Job]:
        """Waits until the job has succeeded. Calls `keep` and `watch` with each state.

        With `watch` the service is asked twice a second, else every 20 s.
        Raises JobFailed, JobCancelled or JobTimedOut for any other end, and Timeout.
        """
        while True:
            seconds = min(WAIT_SECONDS if watch is None else WATCHED_SECONDS, self._deadline.left)
            request = HttpRequest("GET", job_path(id), {"wait": f"{seconds:g}"}, timeout=seconds + WAIT_SECONDS)
            job = yield from self._read(request, LenientJob, self._retries.while_waiting())
            keep(job)
            if watch:
                watch(job)
            if job.status in ENDED:
                break
            if self._deadline.passed:
                raise self._timed_out(f"job {id} is still {job.status}", "not_finished", "; the job was not stopped")
        if job.status != "succeeded":
            raise not_succeeded(f"job {id}", job.status, job.problem)
        return job

    def summary(self, id: str, query: Mapping[str, str] | None = None) -> Flow[Result | LayeredResult]:
        """The summary of a job that has succeeded; `query` selects a part of it."""
        response = yield from self._response(HttpRequest("GET", f"{job_path(id)}/result", query or {}))
        try:
            return parsed_summary(response.content)
        except ValueError as error:
            raise self._not_unitrank(response) from error

    def unit(self, id: str, unit: int, query: Mapping[str, str]) -> Flow[UnitResult]:
        """One unit of a result; `query` selects a cluster or a ranking."""
        return self._read(HttpRequest("GET", f"{job_path(id)}/units/{unit}", query), UnitResult)

    def class_names(self, id: str) -> Flow[Mapping[str, str]]:
        """The names of the job's classes; none from a service of an older version."""
        try:
            return (yield from self._read(HttpRequest("GET", f"{job_path(id)}/classes"), ClassNames)).classes
        except NotFound:
            return {}

    def download(self, id: str, accept: str, target: Path, query: Mapping[str, str] | None = None) -> Flow[None]:
        """Writes the result to the file, as the media type `accept`."""
        yield from self._response(HttpRequest("GET", f"{job_path(id)}/result", query or {}, {"Accept": accept}, target=target))

    def methods(self) -> Flow[list[MethodCard]]:
        """The cards of all methods."""
        return self.list_records("/v1/methods", MethodCard, None)

    def workers(self) -> Flow[Workers]:
        """The workers that are alive."""
        return self.get("/v1/workers", Workers)

    def version(self) -> Flow[Version]:
        """The version of the service."""
        return self.get("/v1/version", Version)

    def readiness(self) -> Flow[Readiness]:
        """The faults of the store with which jobs can still run.

        Raises the problem of a service that cannot run jobs.
        """
        return self._read(HttpRequest("GET", "/readyz"), Readiness, Retries(0))

    def is_ready(self) -> Flow[bool]:
        """Whether jobs can run now; False if the service does not answer."""
        reply = yield from send(HttpRequest("GET", "/readyz", deadline=self._deadline))
        return isinstance(reply, httpx.Response) and reply.is_success

    def probe(self, request: HttpRequest) -> Flow[UnitrankError | None]:
        """Sends the request once. Returns its error, or None if it succeeds."""
        try:
            yield from self._response(request, Retries(0))
        except UnitrankError as error:
            return error
        return None

    def _read(self, request: HttpRequest, schema: type[S], retries: Retries | None = None) -> Flow[S]:
        response = yield from self._response(request, retries)
        try:
            return parse(response.content, schema)
        except ValidationError as error:
            raise self._not_unitrank(response) from error

    def _response(self, request: HttpRequest, retries: Retries | None = None) -> Flow[httpx.Response]:
        reply, _ = yield from self._attempt(request, retries)
        return self._checked(reply)

    def _attempt(
        self, request: HttpRequest, retries: Retries | None = None
    ) -> Flow[tuple[httpx.Response | httpx.RequestError, int]]:
        return send_with_retries(replace(request, deadline=self._deadline), self._retries if retries is None else retries)

    def _checked(self, reply: httpx.Response | httpx.RequestError) -> httpx.Response:
        """The reply if it is a success. Raises the error for any other reply."""
        if isinstance(reply, PROTOCOL_ERRORS):
            # The message of httpx is left out, because it may show a header and so the key.
            raise NotPossible(
                f"the request to {self._url} was not sent: a header is not valid HTTP, or the file changed during its upload"
            ) from None
        if self._deadline.passed and (reason := _transient_failure(reply)):
            raise self._timed_out(f"{self._url} {reason}")
        if not isinstance(reply, httpx.Response):
            raise Unreachable(
                f"{self._url} does not answer: {reply or type(reply).__name__}; "
                "check the address, or start the service with `unitrank up`",
                code="unreachable",
            ) from reply
        if reply.is_success:
            return reply
        try:
            problem = parse(reply.content, Problem)
        except ValidationError:
            raise self._not_unitrank(reply) from None
        raise refusal(problem)

    def _timed_out(self, subject: str, code: str = "not_reached", more: str = "") -> Timeout:
        return Timeout(f"{subject} after {self._deadline.seconds:g} s{more}", code=code)

    def _not_unitrank(self, response: httpx.Response) -> Unreachable:
        detail = (
            f"{response.url} answered {response.status_code} with a body that Unitrank does not send: "
            "is that a Unitrank service? Check the address"
        )
        return Unreachable(detail, code="no_service")


def parse(content: bytes, schema: type[S]) -> S:
    """The body as the schema; fields of a newer service are ignored."""
    return schema.model_validate_json(content, extra="ignore")


def _transient_failure(reply: httpx.Response | httpx.RequestError) -> str:
    """The end of a message about a failure after which a repeat may succeed; else empty."""
    if not isinstance(reply, httpx.Response):
        return "does not answer"
    return f"answers {reply.status_code}" if reply.status_code in RETRIED_STATUSES else ""
