"""The client's twin for asyncio: the same calls, each to be awaited."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic

import httpx

from unitrank.client.endpoints import PLACES, C, Calls, content_path, job_path, part_of, request_body
from unitrank.client.progress import OnState, watching
from unitrank.client.retries import Retries
from unitrank.client.sync import HERE, fetched
from unitrank.client.transports import AsyncWire, new_client, options
from unitrank.client.uploads import put_dataset, put_model
from unitrank.results import JobResult
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.jobs import DryRun, Job, JobRequest, JobStatus
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.models import Model
from unitrank_schemas.operations import Version, Workers
from unitrank_schemas.results import Result

if TYPE_CHECKING:
    import torch


class AsyncClient:
    """As `unitrank.Client`; an asynchronous context manager."""

    def __init__(
        self,
        url: str = HERE,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._http = new_client(lambda: httpx.AsyncClient(**options(url, key, timeout), transport=transport))
        self._wire = AsyncWire(self._http)
        self._hold(Calls(url, Retries(retries)))

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
        client._hold(self.calls.within(seconds))
        return client

    async def methods(self) -> list[MethodCard]:
        """As `Client.methods`."""
        return await self._wire.take(self.calls.methods())

    async def workers(self) -> Workers:
        """As `Client.workers`."""
        return await self._wire.take(self.calls.workers())

    async def version(self) -> Version:
        """As `Client.version`."""
        return await self._wire.take(self.calls.version())

    async def is_ready(self) -> bool:
        """As `Client.is_ready`."""
        return await self._wire.take(self.calls.is_ready())

    def _hold(self, calls: Calls) -> None:
        self.calls = calls
        self.models = AsyncModels(calls, self._wire)
        self.datasets = AsyncDatasets(calls, self._wire)
        self.jobs = AsyncJobs(calls, self._wire)


class AsyncContents(Generic[C]):
    """As `unitrank.client.sync.Contents`."""

    _schema: type[C]

    def __init__(self, calls: Calls, wire: AsyncWire) -> None:
        self._calls = calls
        self._wire = wire

    async def wait(self, name: str, timeout: float | None = None) -> C:
        """As `Contents.wait`."""
        return await self._wire.take(self._calls.within(timeout).until_ready(content_path(self._schema, name), self._schema))

    async def get(self, name: str) -> C:
        """As `Contents.get`."""
        return await self._wire.take(self._calls.one(content_path(self._schema, name), self._schema))

    async def list(self, limit: int | None = None) -> list[C]:
        """As `Contents.list`."""
        return await self._wire.take(self._calls.all(PLACES[self._schema], self._schema, limit))

    async def delete(self, name: str) -> None:
        """As `Contents.delete`."""
        await self._wire.take(self._calls.delete(content_path(self._schema, name)))


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
        """As `Models.put`; a network is exported in a thread."""
        options = {"architecture": architecture, "arguments": arguments, **more}
        calls = self._calls.within(timeout, quiet)
        return await self._wire.take(
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
        return await self._wire.take(
            put_dataset(self._calls.within(timeout, quiet), name, data, uri=uri, fields=fields, wait=wait, quiet=quiet)
        )


class AsyncJobs:
    """As `unitrank.client.sync.Jobs`."""

    def __init__(self, calls: Calls, wire: AsyncWire) -> None:
        self._calls = calls
        self._wire = wire

    async def submit(
        self,
        request: JobRequest | Mapping[str, Any] | None = None,
        /,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> AsyncJobHandle:
        """As `Jobs.submit`."""
        body = request_body(request, fields)
        return AsyncJobHandle(self._calls, self._wire, await self._wire.take(self._calls.submit(body, fresh, idempotency_key)))

    async def dry_run(self, request: JobRequest | Mapping[str, Any] | None = None, /, **fields: Any) -> DryRun:
        """As `Jobs.dry_run`."""
        return await self._wire.take(self._calls.dry_run(request_body(request, fields)))

    async def get(self, id: str) -> AsyncJobHandle:
        """As `Jobs.get`."""
        return AsyncJobHandle(self._calls, self._wire, await self._wire.take(self._calls.job(id)))

    async def list(self, limit: int | None = 50, *, status: JobStatus | None = None, model: str | None = None) -> list[Job]:
        """As `Jobs.list`."""
        params = {key: value for key, value in {"status": status, "model": model}.items() if value is not None}
        return await self._wire.take(self._calls.jobs(limit, params))

    async def delete(self, id: str) -> None:
        """As `Jobs.delete`."""
        await self._wire.take(self._calls.delete(job_path(id)))


class AsyncJobHandle:
    """As `unitrank.client.sync.JobHandle`."""

    def __init__(self, calls: Calls, wire: AsyncWire, state: Job) -> None:
        self._calls = calls
        self._wire = wire
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
        self.state = await self._wire.take(self._calls.job(self.id))
        return self

    async def wait(self, timeout: float | None = None, *, quiet: bool = False, watch: OnState | None = None) -> AsyncJobHandle:
        """As `JobHandle.wait`."""
        with watching(self.id, quiet, watch) as observer:
            await self._wire.take(self._calls.within(timeout, quiet).wait(self.id, self._seen, observer))
        return self

    async def result(self, timeout: float | None = None, *, quiet: bool = False) -> JobResult:
        """As `JobHandle.result`."""
        if self.status != "succeeded":
            await self.wait(timeout, quiet=quiet)
        return await self._wire.take(fetched(self._calls.within(None, quiet), self.id))

    async def summary(self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None) -> Result:
        """As `JobHandle.summary`."""
        return await self._wire.take(self._calls.summary(self.id, part_of(cluster, ranking, top)))

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
        await self._wire.take(self._calls.download(self.id, accept, Path(path), part_of(cluster, ranking, top)))
        return Path(path)

    async def cancel(self) -> AsyncJobHandle:
        """As `JobHandle.cancel`."""
        self.state = await self._wire.take(self._calls.cancel(self.id))
        return self

    def _seen(self, state: Job) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.status}>"
