"""The jobs of a service, and one job of it, for asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from unitrank.client.endpoints import Calls
from unitrank.client.given import job_body
from unitrank.client.http.transports import AsyncFlowRunner
from unitrank.client.job_results import fetch_result, one_layer, several_layers
from unitrank.client.progress import OnState, watching
from unitrank.client.requests import JobFilters, job_path, job_query, result_query
from unitrank.results import JobResult
from unitrank_schemas.jobs import DryRun, Job, JobRequest, JobStatus
from unitrank_schemas.results import LayeredResult, Result, UnitResult


class AsyncJobs:
    """As `unitrank.client.jobs.Jobs`."""

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

    async def list(self, limit: int | None = 50, **filters: Unpack[JobFilters]) -> list[Job]:
        """As `Jobs.list`."""
        return await self._runner.run(self._calls.jobs(limit, job_query(filters)))

    async def edit(self, id: str, **metadata: Any) -> Job:
        """As `Jobs.edit`."""
        return await self._runner.run(self._calls.edit(id, metadata))

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

    async def summary(
        self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None, layer: str | None = None
    ) -> Result:
        """As `JobHandle.summary`."""
        return one_layer(await self._runner.run(self._calls.summary(self.id, result_query(cluster, ranking, top, layer))))

    async def any_summary(self) -> Result | LayeredResult:
        """As `JobHandle.any_summary`."""
        return await self._runner.run(self._calls.summary(self.id))

    async def layered_summary(
        self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None
    ) -> LayeredResult:
        """As `JobHandle.layered_summary`."""
        return several_layers(await self._runner.run(self._calls.summary(self.id, result_query(cluster, ranking, top))))

    async def class_names(self) -> Mapping[str, str]:
        """As `JobHandle.class_names`."""
        return await self._runner.run(self._calls.class_names(self.id))

    async def unit(
        self, unit: int, *, cluster: str | None = None, ranking: str | None = None, layer: str | None = None
    ) -> UnitResult:
        """As `JobHandle.unit`."""
        return await self._runner.run(self._calls.unit(self.id, unit, result_query(cluster, ranking, None, layer)))

    async def download(
        self,
        path: str | Path,
        accept: str = "application/vnd.safetensors",
        *,
        cluster: str | None = None,
        ranking: str | None = None,
        top: int | None = None,
        layer: str | None = None,
    ) -> Path:
        """As `JobHandle.download`."""
        await self._runner.run(self._calls.download(self.id, accept, Path(path), result_query(cluster, ranking, top, layer)))
        return Path(path)

    async def cancel(self) -> AsyncJobHandle:
        """As `JobHandle.cancel`."""
        self.state = await self._runner.run(self._calls.cancel(self.id))
        return self

    def _keep(self, state: Job) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.status}>"
