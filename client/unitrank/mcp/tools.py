"""The tools of the MCP server.

An assistant reads their docstrings and the texts that they return.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field

from unitrank.client.progress import line_of
from unitrank.client.requests import result_query
from unitrank.client.sync import Client
from unitrank.errors import NotSucceeded, Timeout
from unitrank.results import markdown
from unitrank_schemas.jobs import Job, JobStatus

Model = Annotated[str, Field(description="Name of a model; list_models lists them.")]
Layer = Annotated[
    str | list[str],
    Field(
        description="Layer whose units are ranked; list_layers lists them. A list of layers, or a pattern such as encoder.*, ranks "
        "the units of each layer."
    ),
]
Dataset = Annotated[str, Field(description="Name of a dataset; list_datasets lists them.")]
Methods = Annotated[
    list[str | dict[str, Any]],
    Field(description='Names of methods, or objects such as {"name": "conductance", "steps": 50}; list_methods lists them.'),
]
Clusters = Annotated[
    dict[str, Any] | None,
    Field(description='Groups of examples: {"by": "all"} (default), {"by": "label"}, {"by": "field", "field": "NAME"}.'),
]
Options = Annotated[
    dict[str, Any] | None,
    Field(
        description='Other fields of the request, such as {"seed": 7, "units": "channel"}; {"joint": true} also ranks the units of '
        "several layers together."
    ),
]
JobId = Annotated[str, Field(description="Id of a job; list_jobs lists them.")]


class Tools:
    """The tools on one service.

    `client`: the client of the service.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def list_models(self) -> str:
        """List the models (networks) of the service."""
        rows = [f"{model.name}: {model.status}, {len(model.layers or [])} layers" for model in self.client.models.list()]
        return _lines(rows, "The service has no models. A person uploads one with `unitrank put-model`.")

    def list_layers(self, model: Model) -> str:
        """List the layers of a model that a job may name."""
        layers = self.client.models.get(model).layers or []
        rows = [
            f"{layer.name}: {layer.kind}, {layer.units} units, shape {'x'.join(map(str, layer.shape))}"
            + (", every path from input to output passes through it" if layer.cut else "")
            + (f", {layer.heads_in_words}" if layer.heads else "")
            for layer in layers
        ]
        return _lines(rows, f"Model {model} has no layers yet: its inspection has not ended, or rejected it.")

    def list_datasets(self) -> str:
        """List the datasets of the service, with their fields."""
        rows = [
            f"{dataset.name}: {dataset.status}, {dataset.examples} examples, "
            + ", ".join(f"{name} {field.dtype}{field.shape[1:]}" for name, field in (dataset.fields or {}).items())
            for dataset in self.client.datasets.list()
        ]
        return _lines(rows, "The service has no datasets. A person uploads one with `unitrank put-dataset`.")

    def list_methods(self) -> str:
        """List the attribution methods, with their formulas and costs."""
        return _lines([f"{card.name}: {card.summary} Formula: {card.formula}. Cost: {card.cost}" for card in self.client.methods()])

    def list_jobs(
        self,
        limit: Annotated[int, Field(ge=1, le=200, description="Largest number of jobs.")] = 20,
        status: Annotated[JobStatus | None, Field(description="Only jobs with this status.")] = None,
        model: Annotated[str | None, Field(description="Only jobs of this model.")] = None,
    ) -> str:
        """List jobs, the newest first."""
        rows = [
            f"{line_of(job)}, model {job.request.model}, layer {', '.join(job.request.layers)}, dataset {_dataset(job)}"
            for job in self.client.jobs.list(limit, status=status, model=model)
        ]
        return _lines(rows, "There are no such jobs.")

    def check_job(
        self, model: Model, layer: Layer, dataset: Dataset, methods: Methods, clusters: Clusters = None, options: Options = None
    ) -> str:
        """Check the request of a job without starting it.

        Returns what is wrong, or the complete request and its estimated cost.
        """
        checked = self.client.jobs.dry_run(_request(model, layer, dataset, methods, clusters, options))
        request = json.dumps(checked.request.model_dump(mode="json"))
        cost = f"{checked.estimate.passes:,} passes, about {checked.estimate.seconds:.3g} s"
        return f"The request is valid: {cost}. With all defaults it is {request}"

    def wait_for_job(
        self, job: JobId, seconds: Annotated[float, Field(ge=0, le=300, description="Longest time to wait.")] = 60
    ) -> str:
        """Wait until a job has ended, and return its status.

        Call it again if the job is still running.
        """
        handle = self.client.jobs.get(job)
        # The state says how far the job is, or why it did not succeed.
        with suppress(Timeout, NotSucceeded):
            handle.wait(seconds, quiet=True)
        return _state(handle.state)

    def read_verdict(
        self,
        job: JobId,
        layer: Annotated[str | None, Field(description="One layer of a job on several layers, or joint; by default all.")] = None,
    ) -> str:
        """Read the result of a job: the verdict in words, the leaderboard and the warnings.

        A job on several layers has a table over the layers; `layer` selects one of them.

        Report them as they are.
        """
        handle = self.client.jobs.get(job)
        summary = self.client.run(self.client.calls.summary(job, result_query(None, None, None, layer)))
        return markdown(summary, handle.class_names())

    def start_job(
        self, model: Model, layer: Layer, dataset: Dataset, methods: Methods, clusters: Clusters = None, options: Options = None
    ) -> str:
        """Start a job that ranks the units of one or more layers.

        An equal job that has succeeded or is unfinished is returned instead of a new one.
        """
        return _state(self.client.jobs.submit(_request(model, layer, dataset, methods, clusters, options)).state)

    def cancel_job(self, job: JobId) -> str:
        """Cancel a job. A job that has ended is not changed."""
        return _state(self.client.jobs.get(job).cancel().state)

    def reading(self) -> list[Callable[..., str]]:
        """The tools that change nothing."""
        return [
            self.list_models,
            self.list_layers,
            self.list_datasets,
            self.list_methods,
            self.list_jobs,
            self.check_job,
            self.wait_for_job,
            self.read_verdict,
        ]

    def writing(self) -> list[Callable[..., str]]:
        """The tools that start and cancel jobs."""
        return [self.start_job, self.cancel_job]


def _request(
    model: str,
    layer: str | list[str],
    dataset: str,
    methods: list[str | dict[str, Any]],
    clusters: dict[str, Any] | None,
    options: dict[str, Any] | None,
) -> dict[str, Any]:
    names = {"model": model, "layer": layer, "dataset": dataset, "methods": methods}
    return {**(options or {}), **names, **({"clusters": clusters} if clusters else {})}


def _state(job: Job) -> str:
    problem = f" ({job.problem.code}): {job.problem.detail}" if job.problem else ""
    next_step = ". read_verdict reads its result." if job.status == "succeeded" else ""
    return f"{line_of(job)}{problem}{next_step}"


def _dataset(job: Job) -> str:
    """The name of the job's dataset. A dataset in the request has no name."""
    return job.request.dataset if isinstance(job.request.dataset, str) else "in the request"


def _lines(rows: list[str], empty: str = "") -> str:
    return "\n".join(rows) or empty
