"""The service's resources as flows: what is sent, and what the answer becomes."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from unitrank.client.deadline import NEVER, Deadline
from unitrank.client.lenient import LenientDryRun, LenientJob
from unitrank.client.operations import Ask, Flow, OnBytesSent, asked, paused
from unitrank.client.progress import OnState
from unitrank.client.retries import AGAIN, NEVER_SENT, Retries, answered
from unitrank.errors import NotFound, NotPossible, Timeout, UnitrankError, Unreachable, not_succeeded, refusal
from unitrank_schemas.base import Page, Schema
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.jobs import ENDED, DryRun, Job, JobRequest
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.models import Model
from unitrank_schemas.operations import Version, Workers
from unitrank_schemas.problems import Problem
from unitrank_schemas.results import Result

BYTES = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
NPZ = "application/x-npz"
# The service holds an answer until the job has ended: as long as this where nobody looks on, and else so briefly.
HELD_SECONDS = 20.0
WATCHED_SECONDS = 0.5
# An inspection takes a second; nothing holds its answer.
INSPECTED_SECONDS = 0.15

S = TypeVar("S", bound=Schema)
C = TypeVar("C", Model, Dataset)
PLACES: Mapping[type, str] = {Model: "/v1/models", Dataset: "/v1/datasets"}


class Calls:
    """Every call of the contract, which raises Timeout after the deadline; `url` is only for the words of an error."""

    def __init__(self, url: str, retries: Retries, until: Deadline = NEVER) -> None:
        self._url = url
        self._retries = retries
        self._until = until

    def within(self, timeout: float | None, quiet: bool = False) -> "Calls":
        """The same, for at most so many seconds from now on; a quiet one does not warn of long pauses."""
        until = self._until if timeout is None or timeout >= self._until.left else Deadline(timeout)
        return Calls(self._url, replace(self._retries, quiet=quiet), until)

    def put_file(
        self, path: str, file: Path, schema: type[S], sent: OnBytesSent, params: Mapping[str, str] | None = None
    ) -> Flow[S]:
        """The model or dataset whose bytes are in the file."""

        def going() -> None:
            if self._until.passed:
                raise self._late(f"{path.removeprefix('/v1/')} was not uploaded")

        return self._read(Ask("PUT", path, params or {}, BYTES, file=file, going=going, sent=sent), schema)

    def put_uri(self, path: str, uri: str, schema: type[S], params: Mapping[str, str] | None = None) -> Flow[S]:
        """The model or dataset whose bytes the service fetches itself."""
        return self._read(Ask("PUT", path, params or {}, JSON, encoded({"uri": uri})), schema)

    def until_ready(self, path: str, schema: type[C]) -> Flow[C]:
        """The model or dataset when it is ready. Raises Rejected, Timeout."""
        while (record := (yield from self._read(Ask("GET", path), schema))).status in ("inspecting", "importing"):
            if self._until.passed:
                raise self._late(f"{path.removeprefix('/v1/')} is still {record.status}", "not_ready")
            yield from paused(INSPECTED_SECONDS)
        if record.status != "ready":
            raise not_succeeded(f"{schema.__name__.lower()} {record.name}", record.status, record.problem)
        return record

    def one(self, path: str, schema: type[S]) -> Flow[S]:
        """What lies there."""
        return self._read(Ask("GET", path), schema)

    def all(self, path: str, schema: type[S], limit: int | None, params: Mapping[str, str] | None = None) -> Flow[list[S]]:
        """Every one of a list, page by page, at most so many."""
        records: list[S] = []
        asked_for = dict(params or {})
        while limit is None or len(records) < limit:
            asked_for["limit"] = str(min(200, 200 if limit is None else limit - len(records)))
            page = yield from self._read(Ask("GET", path, asked_for), Page[schema])  # type: ignore[valid-type]  # known when it runs
            records += page.items
            if page.next is None:
                break
            asked_for["after"] = page.next
        return records

    def job(self, id: str) -> Flow[Job]:
        """The job as it is now."""
        return self._read(Ask("GET", job_path(id)), LenientJob)

    def jobs(self, limit: int | None, params: Mapping[str, str]) -> Flow[list[Job]]:
        """Jobs, newest first, at most so many."""
        schema: type[Job] = LenientJob
        return self.all("/v1/jobs", schema, limit, params)

    def delete(self, path: str) -> Flow[None]:
        """It is gone; also where an earlier attempt had it gone already. Raises NotFound where there was nothing."""
        came, attempts = yield from self._attempted(Ask("DELETE", path))
        try:
            self._accepted(came)
        except NotFound:
            if attempts == 1:
                raise

    def submit(self, body: bytes, fresh: bool, key: str | None) -> Flow[Job]:
        """The job. However often it is sent, it is one: under a key of its own, if none is given."""
        if key is not None and not all(" " <= letter <= "~" for letter in key):
            raise NotPossible(f"the idempotency key {key!r} is not of printable ASCII characters", code="invalid_request")
        headers = {**JSON, "Idempotency-Key": key or uuid.uuid4().hex, **({"Cache-Control": "no-cache"} if fresh else {})}
        return self._read(Ask("POST", "/v1/jobs", {}, headers, body), LenientJob)

    def dry_run(self, body: bytes) -> Flow[DryRun]:
        """The checked request, and what it would cost."""
        return self._read(Ask("POST", "/v1/jobs", {"dry_run": "true"}, JSON, body), LenientDryRun)

    def cancel(self, id: str) -> Flow[Job]:
        """The job, which now ends."""
        return self._read(Ask("POST", f"{job_path(id)}/cancel"), LenientJob)

    def wait(self, id: str, keep: OnState, watch: OnState | None) -> Flow[Job]:
        """The job when it has succeeded; each state is shown to `seen`, and more of them to `watch` where somebody looks on.

        Raises JobFailed, JobCancelled, JobTimedOut for any other end, and Timeout.
        """
        while True:
            held = min(HELD_SECONDS if watch is None else WATCHED_SECONDS, self._until.left)
            ask = Ask("GET", job_path(id), {"wait": f"{held:g}"}, seconds=held + HELD_SECONDS)
            job = yield from self._read(ask, LenientJob, self._retries.patient())
            keep(job)
            if watch:
                watch(job)
            if job.status in ENDED:
                break
            if self._until.passed:
                raise self._late(f"job {id} is still {job.status}", "not_finished", "; it goes on")
        if job.status != "succeeded":
            raise not_succeeded(f"job {id}", job.status, job.problem)
        return job

    def summary(self, id: str, part: Mapping[str, str] | None = None) -> Flow[Result]:
        """The summary of a job that has succeeded, or what `part` (cluster, ranking, top) leaves of it."""
        return self._read(Ask("GET", f"{job_path(id)}/result", part or {}), Result)

    def download(self, id: str, accept: str, target: Path, part: Mapping[str, str] | None = None) -> Flow[None]:
        """The result as this media type lies in the file."""
        yield from self._answered(Ask("GET", f"{job_path(id)}/result", part or {}, {"Accept": accept}, target=target))

    def methods(self) -> Flow[list[MethodCard]]:
        """The catalogue."""
        return self.all("/v1/methods", MethodCard, None)

    def workers(self) -> Flow[Workers]:
        """Every worker that is alive."""
        return self.one("/v1/workers", Workers)

    def version(self) -> Flow[Version]:
        """What answers there."""
        return self.one("/v1/version", Version)

    def is_ready(self) -> Flow[bool]:
        """Whether jobs can be run now; False too where nobody answers."""
        came = yield from asked(Ask("GET", "/readyz", until=self._until))
        return isinstance(came, httpx.Response) and came.is_success

    def probe(self, ask: Ask) -> Flow[UnitrankError | None]:
        """How one request ends, sent once: with an error, or not."""
        try:
            yield from self._answered(ask, Retries(0))
        except UnitrankError as error:
            return error
        return None

    def _read(self, ask: Ask, schema: type[S], retries: Retries | None = None) -> Flow[S]:
        response = yield from self._answered(ask, retries)
        try:
            return read(response.content, schema)
        except ValidationError as error:
            raise self._stranger(response) from error

    def _answered(self, ask: Ask, retries: Retries | None = None) -> Flow[httpx.Response]:
        came, _ = yield from self._attempted(ask, retries)
        return self._accepted(came)

    def _attempted(self, ask: Ask, retries: Retries | None = None) -> Flow[tuple[httpx.Response | httpx.RequestError, int]]:
        return answered(replace(ask, until=self._until), self._retries if retries is None else retries)

    def _accepted(self, reply: httpx.Response | httpx.RequestError) -> httpx.Response:
        """What was answered. Raises the error that it stands for."""
        if isinstance(reply, NEVER_SENT):
            # What its words show may be a key.
            raise NotPossible(f"{self._url} was sent no whole request: a header breaks HTTP, or a file changed meanwhile") from None
        if self._until.passed and (reason := _in_vain(reply)):
            raise self._late(f"{self._url} {reason}")
        if not isinstance(reply, httpx.Response):
            raise Unreachable(f"{self._url} does not answer: {reply or type(reply).__name__}", code="unreachable") from reply
        if reply.is_success:
            return reply
        try:
            problem = read(reply.content, Problem)
        except ValidationError:
            raise self._stranger(reply) from None
        raise refusal(problem)

    def _late(self, what: str, code: str = "not_reached", more: str = "") -> Timeout:
        return Timeout(f"{what} after {self._until.seconds:g} s{more}", code=code)

    def _stranger(self, response: httpx.Response) -> Unreachable:
        detail = f"{response.url} answered {response.status_code} and nothing of the contract: is that a Unitrank service?"
        return Unreachable(detail, code="no_service")


def content_path(schema: type[Model] | type[Dataset], name: str) -> str:
    """Where a model or a dataset is; `name` may have a digest."""
    return f"{PLACES[schema]}/{step_of(name, safe='@:')}"


def job_path(id: str) -> str:
    """Where a job is. Raises NotPossible."""
    return f"/v1/jobs/{step_of(id, safe='')}"


def step_of(name: str, safe: str) -> str:
    """The name as a step of a path. Raises NotPossible."""
    try:
        step = quote(name, safe=safe)
    except UnicodeEncodeError as error:
        raise NotPossible(f"{name!r} is no text that can be sent", code="invalid_name") from error
    if not step:
        raise NotPossible("a name or an id is empty", code="invalid_name")
    return step


def read(content: bytes, schema: type[S]) -> S:
    """The body as the schema. A newer service may say more than we know."""
    return schema.model_validate_json(content, extra="ignore")


def request_body(request: JobRequest | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> bytes:
    """The JSON of a request, the fields before what it says itself. What is wrong with it the service says best."""
    body = request.model_dump(mode="json", exclude_unset=True) if isinstance(request, JobRequest) else dict(request or {})
    return encoded({**body, **fields})


def part_of(cluster: str | None, ranking: str | None, top: int | None) -> dict[str, str]:
    """What narrows a result, as its query says it."""
    parameters = {"cluster": cluster, "ranking": ranking, "top": None if top is None else str(top)}
    return {name: value for name, value in parameters.items() if value is not None}


def encoded(value: Any) -> bytes:
    """JSON of plain values, schemas and arrays. Raises NotPossible."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise NotPossible(f"the request cannot be written as JSON: {error}", code="invalid_request") from error


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset | range | tuple):
        return list(value)
    raise TypeError(f"a {type(value).__name__} is no value of JSON")


def _in_vain(came: httpx.Response | httpx.RequestError) -> str:
    """What came where the same request may yet have another end."""
    if not isinstance(came, httpx.Response):
        return "does not answer"
    return f"answers {came.status_code}" if came.status_code in AGAIN else ""
