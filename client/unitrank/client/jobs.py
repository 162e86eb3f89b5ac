"""The jobs of a service, and one job of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from unitrank.client.endpoints import Calls
from unitrank.client.given import job_body
from unitrank.client.http.transports import FlowRunner
from unitrank.client.job_results import fetch_result, one_layer, several_layers
from unitrank.client.progress import OnState, watching
from unitrank.client.requests import JobFilters, job_path, job_query, result_query
from unitrank.results import JobResult
from unitrank_schemas.jobs import DryRun, Job, JobRequest, JobStatus
from unitrank_schemas.results import LayeredResult, Result, UnitResult


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

    def list(self, limit: int | None = 50, **filters: Unpack[JobFilters]) -> list[Job]:
        """The states of jobs, the newest first.

        Args:
            limit: the largest number of jobs; None: all.
            status: only jobs with this status.
            model, layer, dataset: only jobs of this model, on this layer, on this dataset.
            verdict: only jobs whose best ranking has this verdict, such as `better_than_random`;
                also `robust` or `fragile`.
            metadata: only jobs with these values in their metadata.
            text: only jobs with all these words in title, tags, notes, names or methods.
            sort: `created_at`, or `area`: the jobs with the largest area first.
            order: `asc`: the oldest, or the smallest area, first.
        """
        return self._runner.run(self._calls.jobs(limit, job_query(filters)))

    def edit(self, id: str, **metadata: Any) -> Job:
        """Changes entries of the job's metadata, and returns its state.

        Args:
            id: the job's id.
            metadata: entries to set, such as `name="First try", tags=["paper"], notes="…"`. None
                removes an entry; the other entries stay.

        Raises NotFound, and InvalidRequest if the metadata become too large.
        """
        return self._runner.run(self._calls.edit(id, metadata))

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
        """The job's result with all arrays; waits for it as `wait` does.

        The result of a job on a list of layers is a `LayeredJobResult`: `result["relu1"]` is the
        result of one layer.
        """
        if self.status != "succeeded":
            self.wait(timeout, quiet=quiet)
        return self._runner.run(fetch_result(self._calls.within(None, quiet), self.id))

    def summary(
        self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None, layer: str | None = None
    ) -> Result:
        """The result's summary without arrays.

        Args:
            cluster: only this cluster.
            ranking: only this ranking.
            top: the number of units in each list of most important units.
            layer: only this layer, or `joint`. A job on several layers needs it.

        Raises Conflict before the job has ended, and NotPossible for several layers without
        `layer`.
        """
        return one_layer(self._runner.run(self._calls.summary(self.id, result_query(cluster, ranking, top, layer))))

    def any_summary(self) -> Result | LayeredResult:
        """The summary of a job on one layer or on a list of layers, without arrays."""
        return self._runner.run(self._calls.summary(self.id))

    def layered_summary(self, *, cluster: str | None = None, ranking: str | None = None, top: int | None = None) -> LayeredResult:
        """The summary of a job on a list of layers, without arrays; options as in `summary`.

        Raises NotPossible for a job on one layer.
        """
        return several_layers(self._runner.run(self._calls.summary(self.id, result_query(cluster, ranking, top))))

    def class_names(self) -> Mapping[str, str]:
        """Number of a class, as text → its name; empty without names.

        They come from `metadata.classes` of the request, or from a text field of the dataset.
        """
        return self._runner.run(self._calls.class_names(self.id))

    def unit(self, unit: int, *, cluster: str | None = None, ranking: str | None = None, layer: str | None = None) -> UnitResult:
        """One unit: its importance, its effect, and the examples with its extreme values.

        Args:
            unit: number of the unit, such as `top[0].unit` of a ranking's cluster.
            cluster: only this cluster.
            ranking: only this ranking.
            layer: the unit's layer, or `joint`; None: the first layer.

        Raises NotFound for a unit or name that the result does not have.
        """
        return self._runner.run(self._calls.unit(self.id, unit, result_query(cluster, ranking, None, layer)))

    def download(
        self,
        path: str | Path,
        accept: str = "application/vnd.safetensors",
        *,
        cluster: str | None = None,
        ranking: str | None = None,
        top: int | None = None,
        layer: str | None = None,
    ) -> Path:
        """Writes the result to a file, and returns its path.

        Args:
            path: the file to write.
            accept: its media type: `application/vnd.safetensors`, `application/x-npz`, `text/csv`
                or `application/json`.
            cluster, ranking, top, layer: the part that is written, as in `summary`; only for CSV
                and JSON.
        """
        self._runner.run(self._calls.download(self.id, accept, Path(path), result_query(cluster, ranking, top, layer)))
        return Path(path)

    def cancel(self) -> JobHandle:
        """Cancels the job, and returns the same handle. A job that has ended is not changed."""
        self.state = self._runner.run(self._calls.cancel(self.id))
        return self

    def _keep(self, state: Job) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.status}>"
