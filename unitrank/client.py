"""The HTTP side of a client: put a model and data, submit a job, wait for it, fetch its result."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx
from pydantic import ValidationError

from api_schemas.base import Schema
from api_schemas.datasets import Dataset
from api_schemas.jobs import ENDED, Job, JobRequest
from api_schemas.models import Model
from api_schemas.operations import Workers
from api_schemas.problems import Problem
from api_schemas.results import Result
from unitrank.addresses import is_loopback
from unitrank.errors import NotSucceeded, Refused, UnitrankError, Unreachable

POLL_SECONDS = 0.15
BYTES = {"Content-Type": "application/octet-stream"}

S = TypeVar("S", bound=Schema)


class Client:
    """A context manager. Every method raises Refused for a problem and Unreachable where nobody answers."""

    def __init__(
        self, url: str, key: str | None = None, timeout: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout,
            transport=transport,
            # A proxy of the environment is no way to this machine itself.
            trust_env=not is_loopback(httpx.URL(url).host),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def put_model(self, name: str, archive: Path) -> Model:
        """The model, which a worker now inspects."""
        return self._put(f"/v1/models/{name}", archive, Model)

    def wait_for_model(self, name: str) -> Model:
        """The model when it is ready. Raises NotSucceeded where it was rejected."""
        while (model := _read(self._ask("GET", f"/v1/models/{name}"), Model)).status == "inspecting":
            time.sleep(POLL_SECONDS)
        if model.status != "ready":
            raise NotSucceeded(f"model {name}", model.status, model.problem)
        return model

    def put_dataset(self, name: str, table: Path) -> Dataset:
        """The dataset, whose header the service has checked."""
        return self._put(f"/v1/datasets/{name}", table, Dataset)

    def submit(self, request: JobRequest) -> Job:
        """The job, which now waits for a worker."""
        body = request.model_dump_json(exclude_unset=True).encode()
        return _read(self._ask("POST", "/v1/jobs", content=body, headers={"Content-Type": "application/json"}), Job)

    def wait(self, id: str, watch: Callable[[Job], None] = lambda job: None) -> Job:
        """The job when it has succeeded; `watch` sees it on the way. Raises NotSucceeded for any other end."""
        while (job := _read(self._ask("GET", f"/v1/jobs/{id}"), Job)).status not in ENDED:
            watch(job)
            time.sleep(POLL_SECONDS)
        watch(job)
        if job.status != "succeeded":
            raise NotSucceeded(f"job {id}", job.status, job.problem)
        return job

    def result(self, id: str) -> Result:
        """The summary of a job that has succeeded."""
        return _read(self._ask("GET", f"/v1/jobs/{id}/result"), Result)

    def save_result(self, id: str, accept: str, path: Path) -> None:
        """Write the result as this media type to a file."""
        path.write_bytes(self._ask("GET", f"/v1/jobs/{id}/result", headers={"Accept": accept}).content)

    def workers(self) -> Workers:
        """Every worker that is alive."""
        return _read(self._ask("GET", "/v1/workers"), Workers)

    def is_ready(self) -> bool:
        """Whether jobs can be run now; False too where nobody answers."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _put(self, path: str, file: Path, schema: type[S]) -> S:
        with file.open("rb") as content:
            return _read(self._ask("PUT", path, content=content.read(), headers=BYTES), schema)

    def _ask(self, verb: str, path: str, *, content: bytes | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
        try:
            response = self._http.request(verb, path, content=content, headers=headers)
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error}") from error
        if response.is_success:
            return response
        raise _refusal(response)


def _read(response: httpx.Response, schema: type[S]) -> S:
    """The body as the schema. A newer service may say more than we know."""
    return schema.model_validate_json(response.content, extra="ignore")


def _refusal(response: httpx.Response) -> UnitrankError:
    try:
        return Refused(_read(response, Problem))
    except ValidationError:
        return Unreachable(f"{response.url} answered {response.status_code} and no problem: is that a Unitrank service?")
