"""The client for asyncio: it has the methods of `Client`, as coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from copy import copy
from types import TracebackType
from typing import Any

import httpx

from unitrank.client.async_contents import AsyncDatasets, AsyncModels
from unitrank.client.async_jobs import AsyncJobHandle, AsyncJobs
from unitrank.client.endpoints import Calls
from unitrank.client.http.retries import Retries
from unitrank.client.http.transports import AsyncFlowRunner, new_client, options
from unitrank.client.sync import DEFAULT_URL
from unitrank.score_checks.over_http import check_with_jobs
from unitrank.score_checks.score_check import ScoreCheck
from unitrank_schemas.comparison import JobComparison
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.operations import Version, Workers


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

    async def compare(self, *jobs: str | AsyncJobHandle) -> JobComparison:
        """As `Client.compare`."""
        return await self._runner.run(self.calls.compare([job if isinstance(job, str) else job.id for job in jobs]))

    async def check_scores(
        self,
        model: str,
        dataset: str,
        layer: str,
        scores: Any,
        *,
        made_on: str | None = None,
        **request: Any,
    ) -> ScoreCheck:
        """As `Client.check_scores`."""
        request |= {"model": model, "dataset": dataset, "layer": layer}
        return await self._runner.run(check_with_jobs(self.calls, request, scores, made_on))

    def _set_calls(self, calls: Calls) -> None:
        self.calls = calls
        self.models = AsyncModels(calls, self._runner)
        self.datasets = AsyncDatasets(calls, self._runner)
        self.jobs = AsyncJobs(calls, self._runner)
