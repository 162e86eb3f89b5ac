"""The client of a service: put a model and data, submit a job, wait for it, hold its result."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx

from unitrank.client.endpoints import NPZ, PLACES, C, Calls, content_path, job_path, part_of, request_body
from unitrank.client.operations import Flow, done
from unitrank.client.progress import OnState, watching
from unitrank.client.retries import Retries
from unitrank.client.transports import Wire, new_client, options
from unitrank.client.uploads import put_dataset, put_model
from unitrank.results import JobResult, read_npz
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.jobs import DryRun, Job, JobRequest, JobStatus
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.models import Model
from unitrank_schemas.operations import Version, Workers
from unitrank_schemas.results import Result

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
HERE = "http://127.0.0.1:8000"


class Client:
    """A client of the service at `url`; a context manager, or to be closed.

    What the service refuses, what fails and what does not answer is raised as a UnitrankError of its own kind. Where the
    service is busy or gone for the moment a request is sent again, at most `retries` times and no sooner than the service asks.
    """

    def __init__(
        self,
        url: str = HERE,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._http = new_client(lambda: httpx.Client(**options(url, key, timeout), transport=transport))
        self._wire = Wire(self._http)
        self._hold(Calls(url, Retries(retries)))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give its connections back."""
        self._http.close()

    def within(self, seconds: float | None) -> Client:
        """The same, whose calls raise Timeout once so many seconds have gone by from now; they share its connections."""
        client = copy(self)
        client._hold(self.calls.within(seconds))
        return client

    def take(self, flow: Flow[T]) -> T:
        """Runs a flow, such as one of `unitrank.client.endpoints`, and returns its value."""
        return self._wire.take(flow)

    def methods(self) -> list[MethodCard]:
        """The catalogue: every method with its formula and options."""
        return self._wire.take(self.calls.methods())

    def workers(self) -> Workers:
        """Every worker that is alive."""
        return self._wire.take(self.calls.workers())

    def version(self) -> Version:
        """What answers there."""
        return self._wire.take(self.calls.version())

    def is_ready(self) -> bool:
        """Whether jobs can be run now; False too where nobody answers."""
        return self._wire.take(self.calls.is_ready())

    def _hold(self, calls: Calls) -> None:
        self.calls = calls
        self.models = Models(calls, self._wire)
        self.datasets = Datasets(calls, self._wire)
        self.jobs = Jobs(calls, self._wire)


class Contents(Generic[C]):
    """What models and datasets have in common."""

    _schema: type[C]

    def __init__(self, calls: Calls, wire: Wire) -> None:
        self._calls = calls
        self._wire = wire

    def wait(self, name: str, timeout: float | None = None) -> C:
        """What has the name when it is ready. Raises Rejected, and Timeout after `timeout` s."""
        return self._wire.take(self._calls.within(timeout).until_ready(content_path(self._schema, name), self._schema))

    def get(self, name: str) -> C:
        """What has the name, as it is now. Raises NotFound."""
        return self._wire.take(self._calls.one(content_path(self._schema, name), self._schema))

    def list(self, limit: int | None = None) -> list[C]:
        """All of them, by name."""
        return self._wire.take(self._calls.all(PLACES[self._schema], self._schema, limit))

    def delete(self, name: str) -> None:
        """Raises NotFound, and Conflict where a job needs it."""
        self._wire.take(self._calls.delete(content_path(self._schema, name)))


class Models(Contents[Model]):
    """The service's models."""

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
        """The model when it is ready, with the layers that a job may name; with `wait=False` as soon as it is there.

        `model` is a torch.nn.Module, which is exported with the example inputs (`unitrank.export` says which they may be), or
        the path of an archive, or of the weights of an `architecture` that the operator has installed; or else `uri` says
        where it lies. `more`: options of other formats. Raises Rejected, ExportRefused, Timeout after `timeout` s.
        """
        options = {"architecture": architecture, "arguments": arguments, **more}
        calls = self._calls.within(timeout, quiet)
        return self._wire.take(put_model(calls, name, model, example_inputs, uri=uri, options=options, wait=wait, quiet=quiet))


class Datasets(Contents[Dataset]):
    """The service's datasets."""

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
        """The dataset when it is ready; with `wait=False` as soon as it is there.

        Fields are arrays, tensors or lists by name, such as `x=…, y=…`. `data` is a path of an .npz or a safetensors file, a
        mapping of fields, or a torch.utils.data.Dataset, whose tuples become `x`, `y`, `field2` …; or else `uri` says where it
        lies. Raises Rejected, NotPossible, Timeout after `timeout` s.
        """
        return self._wire.take(
            put_dataset(self._calls.within(timeout, quiet), name, data, uri=uri, fields=fields, wait=wait, quiet=quiet)
        )


class Jobs:
    """The service's jobs."""

    def __init__(self, calls: Calls, wire: Wire) -> None:
        self._calls = calls
        self._wire = wire

    def submit(
        self,
        request: JobRequest | Mapping[str, Any] | None = None,
        /,
        *,
        fresh: bool = False,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> JobHandle:
        """The job: a new one, or an earlier one that equals it, unless it is to be `fresh`.

        The fields are those of the contract, `model="net", layer="relu1", dataset="data", methods=["conductance"]` and what
        else there is; they count before what `request` says. Under an idempotency key of your own the same request, sent by
        another process too, is the same job. Raises InvalidRequest with the places that are wrong.
        """
        body = request_body(request, fields)
        return JobHandle(self._calls, self._wire, self._wire.take(self._calls.submit(body, fresh, idempotency_key)))

    def dry_run(self, request: JobRequest | Mapping[str, Any] | None = None, /, **fields: Any) -> DryRun:
        """The checked request with its defaults, and what it would cost."""
        return self._wire.take(self._calls.dry_run(request_body(request, fields)))

    def get(self, id: str) -> JobHandle:
        """The job of that id. Raises NotFound."""
        return JobHandle(self._calls, self._wire, self._wire.take(self._calls.job(id)))

    def list(self, limit: int | None = 50, *, status: JobStatus | None = None, model: str | None = None) -> list[Job]:
        """The states of jobs, newest first."""
        params = {key: value for key, value in {"status": status, "model": model}.items() if value is not None}
        return self._wire.take(self._calls.jobs(limit, params))

    def delete(self, id: str) -> None:
        """Raises Conflict for a job that has not ended."""
        self._wire.take(self._calls.delete(job_path(id)))


class JobHandle:
    """A job of the service; `state` is what was last heard of it."""

    def __init__(self, calls: Calls, wire: Wire, state: Job) -> None:
        self._calls = calls
        self._wire = wire
        self.state = state

    @property
    def id(self) -> str:
        """By which `client.jobs.get` comes back to it."""
        return self.state.id

    @property
    def status(self) -> JobStatus:
        """As last heard."""
        return self.state.status

    def refresh(self) -> JobHandle:
        """The same, having asked how it is."""
        self.state = self._wire.take(self._calls.job(self.id))
        return self

    def wait(self, timeout: float | None = None, *, quiet: bool = False, watch: OnState | None = None) -> JobHandle:
        """The same when it has succeeded, with one line that says how far it is where somebody looks on.

        `watch` is shown its states instead. Raises JobFailed, JobCancelled, JobTimedOut, and Timeout after `timeout` s, which
        leaves the job as it is; so does Ctrl-C.
        """
        with watching(self.id, quiet, watch) as observer:
            self._wire.take(self._calls.within(timeout, quiet).wait(self.id, self._seen, observer))
        return self

    def result(self, timeout: float | None = None, *, quiet: bool = False) -> JobResult:
        """What it found, once it has; waits as `wait` does."""
        if self.status != "succeeded":
            self.wait(timeout, quiet=quiet)
        return self._wire.take(fetched(self._calls.within(None, quiet), self.id))

    def summary(self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None) -> Result:
        """The result's summary alone, of one cluster or ranking where they are named, with `top` units of each.

        Raises Conflict before the job has ended.
        """
        return self._wire.take(self._calls.summary(self.id, part_of(cluster, ranking, top)))

    def download(
        self,
        path: str | Path,
        accept: str = "application/vnd.safetensors",
        *,
        cluster: str | None = None,
        ranking: str | None = None,
        top: int | None = None,
    ) -> Path:
        """The file, which now holds the result as that media type: safetensors, application/x-npz, text/csv or JSON.

        The last two are narrowed as `summary` is.
        """
        self._wire.take(self._calls.download(self.id, accept, Path(path), part_of(cluster, ranking, top)))
        return Path(path)

    def cancel(self) -> JobHandle:
        """The same, which now ends; one that has ended stays as it is."""
        self.state = self._wire.take(self._calls.cancel(self.id))
        return self

    def _seen(self, state: Job) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.status}>"


def fetched(calls: Calls, id: str) -> Flow[JobResult]:
    """Summary and arrays of a job that has succeeded."""
    summary = yield from calls.summary(id)
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        file = Path(folder, "arrays.npz")
        yield from calls.download(id, NPZ, file)
        return JobResult(summary, (yield from done(lambda: read_npz(file))))
