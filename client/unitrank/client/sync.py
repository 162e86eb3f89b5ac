"""The client of a service: it uploads models and datasets, submits jobs, and fetches results."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from types import TracebackType
from typing import Any, TypeVar

import httpx

from unitrank.client.contents import Datasets, Models
from unitrank.client.endpoints import Calls
from unitrank.client.http.operations import Flow
from unitrank.client.http.retries import Retries
from unitrank.client.http.transports import FlowRunner, new_client, options
from unitrank.client.jobs import JobHandle, Jobs
from unitrank.score_checks.over_http import check_with_jobs
from unitrank.score_checks.score_check import ScoreCheck
from unitrank_schemas.comparison import JobComparison
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.operations import Version, Workers

T = TypeVar("T")
DEFAULT_URL = "http://127.0.0.1:8000"


class Client:
    """A client of a Unitrank service. It is a context manager; otherwise call `close`.

    A refusal, a failed job or a service that does not answer raises a subclass of UnitrankError.
    If the service is busy or does not answer, the request is sent again. The pauses between the
    attempts double from 0.2 s to 15 s. A `Retry-After` of at most 120 s replaces a pause.

    Args:
        url: address of the service, such as `http://127.0.0.1:8000`.
        key: API key; None for a service without keys.
        timeout: seconds that one answer may take. A connection may take 5 s.
        retries: how often a request is repeated.
        transport: an httpx transport, for tests and special networks; None: httpx's own.
        clock: returns the time in seconds, for tests.
        sleep: waits for a number of seconds before the next attempt, for tests.

    Raises NotPossible if the address, the key or the environment's proxy is invalid.

    >>> import unitrank
    >>> with unitrank.Client(url) as client:
    ...     dataset = client.datasets.put("points", x=[[0.5, 1.0], [1.5, 0.0]])
    >>> dataset.examples
    2
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self._http = new_client(lambda: httpx.Client(**options(url, key, timeout), transport=transport))
        self._runner = FlowRunner(self._http, sleep)
        self._set_calls(Calls(url, Retries(retries), clock=clock))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def within(self, seconds: float | None) -> Client:
        """A client with the same connections, whose calls raise Timeout `seconds` from now."""
        client = copy(self)
        client._set_calls(self.calls.within(seconds))
        return client

    def run(self, flow: Flow[T]) -> T:
        """Runs a flow, such as one of `unitrank.client.endpoints`, and returns its value."""
        return self._runner.run(flow)

    def methods(self) -> list[MethodCard]:
        """The attribution methods, each with its formula, cost and options."""
        return self._runner.run(self.calls.methods())

    def workers(self) -> Workers:
        """The workers that are alive, and what each of them does."""
        return self._runner.run(self.calls.workers())

    def version(self) -> Version:
        """The version of the service."""
        return self._runner.run(self.calls.version())

    def is_ready(self) -> bool:
        """Whether the service can run jobs now; False if it does not answer."""
        return self._runner.run(self.calls.is_ready())

    def compare(self, *jobs: str | JobHandle) -> JobComparison:
        """Compares two to four jobs: their requests, and their rankings where the places are equal.

        Args:
            jobs: ids or handles of the jobs.

        Raises NotFound, and InvalidRequest for another number of jobs.
        """
        return self._runner.run(self.calls.compare([job if isinstance(job, str) else job.id for job in jobs]))

    def check_scores(
        self,
        model: str,
        dataset: str,
        layer: str,
        scores: Any,
        *,
        made_on: str | None = None,
        **request: Any,
    ) -> ScoreCheck:
        """Finds which known scores your own scores are, as `unitrank.check_scores` does.

        The service runs up to a few dozen small jobs, and the client waits for each.

        Args:
            model, dataset: names of a model and a dataset of the service.
            layer, scores, made_on: as in `unitrank.check_scores`.
            request: `at`, `target`, `clusters` and other fields of a job, as there.

        Raises the errors of `jobs.submit` and `JobHandle.wait`.
        """
        request |= {"model": model, "dataset": dataset, "layer": layer}
        return self._runner.run(check_with_jobs(self.calls, request, scores, made_on))

    def _set_calls(self, calls: Calls) -> None:
        self.calls = calls
        self.models = Models(calls, self._runner)
        self.datasets = Datasets(calls, self._runner)
        self.jobs = Jobs(calls, self._runner)
