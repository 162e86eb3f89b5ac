"""The client of a service: it uploads models and datasets, submits jobs, and fetches results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx

from unitrank.client.endpoints import COLLECTIONS, NPZ, C, Calls, content_path, job_path, result_query
from unitrank.client.given import job_body
from unitrank.client.operations import Flow, work
from unitrank.client.progress import OnState, watching
from unitrank.client.retries import Retries
from unitrank.client.transports import FlowRunner, new_client, options
from unitrank.client.uploads import put_dataset, put_model
from unitrank.results import JobResult, read_npz
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

    def check_scores(
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
        """Finds which known scores your own scores are, as `unitrank.check_scores` does.

        The service runs up to a few dozen small jobs, and the client waits for each.

        Args:
            model, dataset: names of a model and a dataset of the service.
            layer, scores, at, target, clusters, made_on, request: as in `unitrank.check_scores`.

        Raises the errors of `jobs.submit` and `JobHandle.wait`.
        """
        fields = {"model": model, "dataset": dataset, "layer": layer, "at": at, "target": target or {}, "clusters": clusters}
        return self._runner.run(check_with_jobs(self.calls, fetch_result, {**fields, **request}, scores, made_on))

    def _set_calls(self, calls: Calls) -> None:
        self.calls = calls
        self.models = Models(calls, self._runner)
        self.datasets = Datasets(calls, self._runner)
        self.jobs = Jobs(calls, self._runner)


class Contents(Generic[C]):
    """The calls that models and datasets share."""

    _schema: type[C]

    def __init__(self, calls: Calls, runner: FlowRunner) -> None:
        self._calls = calls
        self._runner = runner

    def wait(self, name: str, timeout: float | None = None) -> C:
        """Waits until the content is ready. Raises Rejected, and Timeout after `timeout` s."""
        return self._runner.run(self._calls.within(timeout).until_ready(content_path(self._schema, name), self._schema))

    def get(self, name: str) -> C:
        """The current record; `name` may include a digest. Raises NotFound."""
        return self._runner.run(self._calls.get(content_path(self._schema, name), self._schema))

    def list(self, limit: int | None = None) -> list[C]:
        """The records in the order of their names; at most `limit`, or all for None."""
        return self._runner.run(self._calls.list_records(COLLECTIONS[self._schema], self._schema, limit))

    def delete(self, name: str) -> None:
        """Deletes the content. Raises NotFound, and Conflict while a job needs it."""
        self._runner.run(self._calls.delete(content_path(self._schema, name)))


class Models(Contents[Model]):
    """The models of a service."""

    _schema = Model

    def put(
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
        """Uploads a model. Returns it when it is ready, with the layers that a job may name.

        Args:
            name: name of the model in the service.
            model: a torch.nn.Module, which is exported; the path of an archive; or the path of a
                safetensors file with the weights of `architecture`.
            example_inputs: example inputs of a torch.nn.Module, as `unitrank.export` takes them.
            uri: an address that the service reads the model from, instead of `model`.
            architecture: name of an architecture that the operator of the service installed.
            arguments: arguments of the architecture.
            wait: wait until the model was inspected; False: return after the upload.
            timeout: seconds for the upload and the inspection together; None: no limit.
            quiet: display no progress.
            more: options of other model formats.

        Raises Rejected if the service does not accept the model; ExportRefused if the network
        cannot be exported; NotPossible if the arguments are wrong; and Timeout.
        """
        options = {"architecture": architecture, "arguments": arguments, **more}
        calls = self._calls.within(timeout, quiet)
        return self._runner.run(put_model(calls, name, model, example_inputs, uri=uri, options=options, wait=wait, quiet=quiet))


class Datasets(Contents[Dataset]):
    """The datasets of a service."""

    _schema = Dataset

    def put(
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
        """Uploads a dataset. Returns it when it is ready.

        Args:
            name: name of the dataset in the service.
            data: the path of an .npz or safetensors file; a mapping of fields; or a
                torch.utils.data.Dataset, whose tuples become the fields `x`, `y`, `field2`, …
            uri: an address that the service reads the dataset from, instead of `data`.
            wait: wait until the dataset is ready; False: return after the upload.
            timeout: seconds for the upload and the import together; None: no limit.
            quiet: display no progress.
            fields: arrays, tensors or lists by name, such as `x=…, y=…`, one row per example.

        Raises Rejected if the service does not accept the data, NotPossible if the data are not
        a dataset, and Timeout.
        """
        return self._runner.run(
            put_dataset(self._calls.within(timeout, quiet), name, data, uri=uri, fields=fields, wait=wait, quiet=quiet)
        )


class Jobs:
    """The jobs of a service."""

    def __init__(self, calls: Calls, runner: FlowRunner) -> None:
        self._calls = calls
        self._runner = runner

    def submit(
        self,
        request: JobRequest | Mapping[str, Any] | None = None,
        /,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        given: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> JobHandle:
        """Submits a job, or returns an earlier job with an equal request.

        Args:
            request: the fields of a job request.
            fresh: run a new job even if an equal one exists.
            idempotency_key: calls with this key and the same request give the same job, also
                from another process; None: a random key.
            given: scores that you bring, by the names of their rankings, as `unitrank.given` takes
                them. Scores too large for the request are uploaded as datasets, whose names
                begin with `given-`.
            fields: fields of the request, such as `model="net", layer="relu1", dataset="data",
                methods=["conductance"]`. They override those of `request`.

        Raises InvalidRequest, whose `places` name the wrong fields.
        """
        body = self._runner.run(job_body(self._calls, request, fields, given))
        return JobHandle(self._calls, self._runner, self._runner.run(self._calls.submit(body, fresh, idempotency_key)))

    def dry_run(
        self, request: JobRequest | Mapping[str, Any] | None = None, /, *, given: Mapping[str, Any] | None = None, **fields: Any
    ) -> DryRun:
        """The checked request with its defaults, and the estimated cost; no job is started.

        Given scores that are too large for the request are uploaded.
        """
        return self._runner.run(self._calls.dry_run(self._runner.run(job_body(self._calls, request, fields, given))))

    def get(self, id: str) -> JobHandle:
        """The job with this id. Raises NotFound."""
        return JobHandle(self._calls, self._runner, self._runner.run(self._calls.job(id)))

    def list(self, limit: int | None = 50, *, status: JobStatus | None = None, model: str | None = None) -> list[Job]:
        """The states of jobs, the newest first.

        Args:
            limit: the largest number of jobs; None: all.
            status: only jobs with this status.
            model: only jobs of this model.
        """
        params = {key: value for key, value in {"status": status, "model": model}.items() if value is not None}
        return self._runner.run(self._calls.jobs(limit, params))

    def delete(self, id: str) -> None:
        """Deletes a job and its result. Raises NotFound, and Conflict if the job has not ended."""
        self._runner.run(self._calls.delete(job_path(id)))


class JobHandle:
    """A job of the service. `client.jobs.submit` and `client.jobs.get` return it.

    Attributes:
        state: the last state that the service sent.

    >>> import unitrank
    >>> with unitrank.Client(url) as client:
    ...     model = client.models.put("net", network, example_inputs=x[:1])
    ...     dataset = client.datasets.put("points", x=x)
    ...     job = client.jobs.submit(model="net", layer="1", dataset="points", methods=["gradient"])
    ...     result = job.result(timeout=60, quiet=True)
    >>> job.status
    'succeeded'
    >>> result.importances("gradient")["all"].shape
    (6,)
    """

    def __init__(self, calls: Calls, runner: FlowRunner, state: Job) -> None:
        self._calls = calls
        self._runner = runner
        self.state = state

    @property
    def id(self) -> str:
        """The job's id, which `client.jobs.get` takes."""
        return self.state.id

    @property
    def status(self) -> JobStatus:
        """The status in `state`; `refresh` updates it."""
        return self.state.status

    def refresh(self) -> JobHandle:
        """Fetches the current state, and returns the same handle."""
        self.state = self._runner.run(self._calls.job(self.id))
        return self

    def wait(self, timeout: float | None = None, *, quiet: bool = False, watch: OnState | None = None) -> JobHandle:
        """Waits until the job has succeeded, and returns the same handle.

        Args:
            timeout: seconds to wait; None: no limit.
            quiet: display no progress line.
            watch: a function that is called with each state, instead of the progress line.

        Raises JobFailed, JobCancelled or JobTimedOut for any other end, and Timeout after
        `timeout` s. Neither Timeout nor Ctrl-C stops the job.
        """
        with watching(self.id, quiet, watch) as observer:
            self._runner.run(self._calls.within(timeout, quiet).wait(self.id, self._keep, observer))
        return self

    def result(self, timeout: float | None = None, *, quiet: bool = False) -> JobResult:
        """The job's result with all arrays; waits for it as `wait` does."""
        if self.status != "succeeded":
            self.wait(timeout, quiet=quiet)
        return self._runner.run(fetch_result(self._calls.within(None, quiet), self.id))

    def summary(self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None) -> Result:
        """The result's summary without arrays.

        Args:
            cluster: only this cluster.
            ranking: only this ranking.
            top: the number of units in each list of most important units.

        Raises Conflict before the job has ended.
        """
        return self._runner.run(self._calls.summary(self.id, result_query(cluster, ranking, top)))

    def download(
        self,
        path: str | Path,
        accept: str = "application/vnd.safetensors",
        *,
        cluster: str | None = None,
        ranking: str | None = None,
        top: int | None = None,
    ) -> Path:
        """Writes the result to a file, and returns its path.

        Args:
            path: the file to write.
            accept: its media type: `application/vnd.safetensors`, `application/x-npz`, `text/csv`
                or `application/json`.
            cluster, ranking, top: the part that is written, as in `summary`; only for CSV and
                JSON.
        """
        self._runner.run(self._calls.download(self.id, accept, Path(path), result_query(cluster, ranking, top)))
        return Path(path)

    def cancel(self) -> JobHandle:
        """Cancels the job, and returns the same handle. A job that has ended is not changed."""
        self.state = self._runner.run(self._calls.cancel(self.id))
        return self

    def _keep(self, state: Job) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.status}>"


def fetch_result(calls: Calls, id: str) -> Flow[JobResult]:
    """The summary and the arrays of a job that has succeeded."""
    summary = yield from calls.summary(id)
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        file = Path(folder, "arrays.npz")
        yield from calls.download(id, NPZ, file)
        return JobResult(summary, (yield from work(lambda: read_npz(file))))
