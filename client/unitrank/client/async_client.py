"""The client for asyncio: it has the methods of `Client`, as coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic

import httpx

from unitrank.client.endpoints import COLLECTIONS, C, Calls, content_path, job_path, result_query
from unitrank.client.given import job_body
from unitrank.client.progress import OnState, watching
from unitrank.client.retries import Retries
from unitrank.client.sync import DEFAULT_URL, fetch_result
from unitrank.client.transports import AsyncFlowRunner, new_client, options
from unitrank.client.uploads import put_dataset, put_model
from unitrank.results import JobResult
from unitrank.score_checks.over_http import check_with_jobs
from unitrank.score_checks.score_check import ScoreCheck
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.jobs import DryRun, Job, JobRequest, JobStatus
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.models import Model
from unitrank_schemas.operations import Version, Workers
from unitrank_schemas.results import Result

if TYPE_CHECKING:
    import torch


class AsyncClient:
    """`unitrank.Client` for asyncio. It is an asynchronous context manager.

    Each method does what the method of `unitrank.Client` does, and is awaited.

    Args:
        url: address of the service, such as `http://127.0.0.1:8000`.
        key: API key; None for a service without keys.
        timeout: seconds that one answer may take. A connection may take 5 s.
        retries: how often a request is repeated.
        transport: an httpx transport, for tests and special networks; None: httpx's own.
        clock: returns the time in seconds, for tests.
        sleep: waits for a number of seconds before the next attempt, for tests.

    Raises NotPossible if the address, the key or the environment's proxy is invalid.

    >>> import asyncio, unitrank
    >>> async def count_examples():
    ...     async with unitrank.AsyncClient(url) as client:
    ...         dataset = await client.datasets.put("points", x=[[0.5, 1.0], [1.5, 0.0]])
    ...         return dataset.examples
    >>> asyncio.run(count_examples())
    2
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url
        self._http = new_client(lambda: httpx.AsyncClient(**options(url, key, timeout), transport=transport))
        self._runner = AsyncFlowRunner(self._http, sleep)
        self._set_calls(Calls(url, Retries(retries), clock=clock))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._http.aclose()

    def within(self, seconds: float | None) -> AsyncClient:
        """As `Client.within`."""
        client = copy(self)
        client._set_calls(self.calls.within(seconds))
        return client

    async def methods(self) -> list[MethodCard]:
        """As `Client.methods`."""
        return await self._runner.run(self.calls.methods())

    async def workers(self) -> Workers:
        """As `Client.workers`."""
        return await self._runner.run(self.calls.workers())

    async def version(self) -> Version:
        """As `Client.version`."""
        return await self._runner.run(self.calls.version())

    async def is_ready(self) -> bool:
        """As `Client.is_ready`."""
        return await self._runner.run(self.calls.is_ready())

    async def check_scores(
        self,
        model: str,
        dataset: str,
        layer: str,
        scores: Any,
        *,
        at: str = "output",
        target: Mapping[str, Any] | None = None,
        clusters: Mapping[str, Any] | None = None,
        made_on: str | None = None,
        **request: Any,
    ) -> ScoreCheck:
        """As `Client.check_scores`."""
        fields = {"model": model, "dataset": dataset, "layer": layer, "at": at, "target": target or {}, "clusters": clusters}
        return await self._runner.run(check_with_jobs(self.calls, fetch_result, {**fields, **request}, scores, made_on))

    def _set_calls(self, calls: Calls) -> None:
        self.calls = calls
        self.models = AsyncModels(calls, self._runner)
        self.datasets = AsyncDatasets(calls, self._runner)
        self.jobs = AsyncJobs(calls, self._runner)


class AsyncContents(Generic[C]):
    """As `unitrank.client.sync.Contents`."""

    _schema: type[C]

    def __init__(self, calls: Calls, runner: AsyncFlowRunner) -> None:
        self._calls = calls
        self._runner = runner

    async def wait(self, name: str, timeout: float | None = None) -> C:
        """As `Contents.wait`."""
        return await self._runner.run(self._calls.within(timeout).until_ready(content_path(self._schema, name), self._schema))

    async def get(self, name: str) -> C:
        """As `Contents.get`."""
        return await self._runner.run(self._calls.get(content_path(self._schema, name), self._schema))

    async def list(self, limit: int | None = None) -> list[C]:
        """As `Contents.list`."""
        return await self._runner.run(self._calls.list_records(COLLECTIONS[self._schema], self._schema, limit))

    async def delete(self, name: str) -> None:
        """As `Contents.delete`."""
        await self._runner.run(self._calls.delete(content_path(self._schema, name)))


class AsyncModels(AsyncContents[Model]):
    """As `unitrank.client.sync.Models`."""

    _schema = Model

    async def put(
        self,
        name: str,
        model: str | Path | torch.nn.Module | None = None,
        example_inputs: Any = None,
        *,
        uri: str | None = None,
        architecture: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        wait: bool = True,
        timeout: float | None = None,
        quiet: bool = False,
        **more: Any,
    ) -> Model:
        """As `Models.put`. A network is exported in a thread."""
        options = {"architecture": architecture, "arguments": arguments, **more}
        calls = self._calls.within(timeout, quiet)
        return await self._runner.run(
            put_model(calls, name, model, example_inputs, uri=uri, options=options, wait=wait, quiet=quiet)
        )


class AsyncDatasets(AsyncContents[Dataset]):
    """As `unitrank.client.sync.Datasets`."""

    _schema = Dataset

    async def put(
        self,
        name: str,
        data: Any = None,
        *,
        uri: str | None = None,
        wait: bool = True,
        timeout: float | None = None,
        quiet: bool = False,
        **fields: Any,
    ) -> Dataset:
        """As `Datasets.put`."""
        return await self._runner.run(
            put_dataset(self._calls.within(timeout, quiet), name, data, uri=uri, fields=fields, wait=wait, quiet=quiet)
        )


class AsyncJobs:
    """As `unitrank.client.sync.Jobs`."""

    def __init__(self, calls: Calls, runner: AsyncFlowRunner) -> None:
        self._calls = calls
        self._runner = runner

    async def submit(
        self,
        request: JobRequest | Mapping[str, Any] | None = None,
        /,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        given: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> AsyncJobHandle:
        """As `Jobs.submit`."""
        body = await self._runner.run(job_body(self._calls, request, fields, given))
        return AsyncJobHandle(self._calls, self._runner, await self._runner.run(self._calls.submit(body, fresh, idempotency_key)))

    async def dry_run(
        self, request: JobRequest | Mapping[str, Any] | None = None, /, *, given: Mapping[str, Any] | None = None, **fields: Any
    ) -> DryRun:
        """As `Jobs.dry_run`."""
        body = await self._runner.run(job_body(self._calls, request, fields, given))
        return await self._runner.run(self._calls.dry_run(body))

    async def get(self, id: str) -> AsyncJobHandle:
        """As `Jobs.get`."""
        return AsyncJobHandle(self._calls, self._runner, await self._runner.run(self._calls.job(id)))

    async def list(self, limit: int | None = 50, *, status: JobStatus | None = None, model: str | None = None) -> list[Job]:
        """As `Jobs.list`."""
        params = {key: value for key, value in {"status": status, "model": model}.items() if value is not None}
        return await self._runner.run(self._calls.jobs(limit, params))

    async def delete(self, id: str) -> None:
        """As `Jobs.delete`."""
        await self._runner.run(self._calls.delete(job_path(id)))


class AsyncJobHandle:
    """`unitrank.JobHandle` for asyncio. `client.jobs.submit` and `client.jobs.get` return it.

    Attributes:
        state: the last state that the service sent.

    >>> import asyncio, unitrank
    >>> async def rank():
    ...     async with unitrank.AsyncClient(url) as client:
    ...         await client.models.put("net", network, example_inputs=x[:1])
    ...         await client.datasets.put("points", x=x)
    ...         request = {"model": "net", "layer": "1", "dataset": "points", "methods": ["gradient"]}
    ...         job = await client.jobs.submit(request)
    ...         return await job.result(timeout=60, quiet=True)
    >>> asyncio.run(rank()).importances("gradient")["all"].shape
    (6,)
    """

    def __init__(self, calls: Calls, runner: AsyncFlowRunner, state: Job) -> None:
        self._calls = calls
        self._runner = runner
        self.state = state

    @property
    def id(self) -> str:
        """As `JobHandle.id`."""
        return self.state.id

    @property
    def status(self) -> JobStatus:
        """As `JobHandle.status`."""
        return self.state.status

    async def refresh(self) -> AsyncJobHandle:
        """As `JobHandle.refresh`."""
        self.state = await self._runner.run(self._calls.job(self.id))
        return self

    async def wait(self, timeout: float | None = None, *, quiet: bool = False, watch: OnState | None = None) -> AsyncJobHandle:
        """As `JobHandle.wait`."""
        with watching(self.id, quiet, watch) as observer:
            await self._runner.run(self._calls.within(timeout, quiet).wait(self.id, self._keep, observer))
        return self

    async def result(self, timeout: float | None = None, *, quiet: bool = False) -> JobResult:
        """As `JobHandle.result`."""
        if self.status != "succeeded":
            await self.wait(timeout, quiet=quiet)
        return await self._runner.run(fetch_result(self._calls.within(None, quiet), self.id))

    async def summary(self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None) -> Result:
        """As `JobHandle.summary`."""
        return await self._runner.run(self._calls.summary(self.id, result_query(cluster, ranking, top)))

    async def download(
        self,
        path: str | Path,
        accept: str = "application/vnd.safetensors",
        *,
        cluster: str | None = None,
        ranking: str | None = None,
        top: int | None = None,
    ) -> Path:
        """As `JobHandle.download`."""
        await self._runner.run(self._calls.download(self.id, accept, Path(path), result_query(cluster, ranking, top)))
        return Path(path)

    async def cancel(self) -> AsyncJobHandle:
        """As `JobHandle.cancel`."""
        self.state = await self._runner.run(self._calls.cancel(self.id))
        return self

    def _keep(self, state: Job) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.status}>"
