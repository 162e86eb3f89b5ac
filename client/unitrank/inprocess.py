"""Runs a job in this process, without a service."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unitrank.client.given import GivenRanking, LocalScores
from unitrank.client.requests import request_body
from unitrank.dataset_files import array_of, dataset_file
from unitrank.errors import InvalidRequest, JobFailed, NotPossible
from unitrank.exporting import export, needing_engine
from unitrank.results import JobResult, job_result, parsed_summary
from unitrank_schemas.checks import Facts, RequestRejected, checked
from unitrank_schemas.class_names import given_names
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import MOST_CLUSTERS, TableFacts
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.problems import Invalid
from unitrank_schemas.validation import invalid_places

if TYPE_CHECKING:
    import torch

    from unitrank_engine.program import Program
    from unitrank_schemas.models import Manifest
    from unitrank_tables import Table

NAME = "here"
METHODS = ("activation", "gradient", "gradient_x_delta", "conductance")
UNBOUNDED = 1 << 62
NO_SCORES: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def rank(
    module: torch.nn.Module,
    layer: str | Sequence[str],
    x: Any,
    y: Any = None,
    *,
    methods: Sequence[str | Mapping[str, Any] | GivenRanking] = METHODS,
    clusters: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    example_inputs: Any = None,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
    **request: Any,
) -> JobResult:
    """Ranks the units of one or more layers for each cluster, and tests each ranking by ablation.

    The computation runs in this process. A job with the same request has an equal result.

    Args:
        module: the network.
        layer: name of the layer whose units are ranked, or `input`. A list of names, or a pattern
            such as `encoder.*`, ranks the units of each layer; the result is then a
            `LayeredJobResult`, and `joint=True` also ranks the units of all layers together.
        x: the examples, with one row per example: an array, a tensor or a list.
        y: the label of each example; None: no labels.
        methods: names of methods, mappings with `name` and options, or scores of `unitrank.given`.
        clusters: groups of examples, as in a job's request; None: one cluster per label, or a
            single cluster without labels.
        fields: more fields of the data by name, with one row per example.
        example_inputs: example inputs as `export` takes them; only a network with several inputs
            needs them.
        device: `cpu`, `cuda` or `cuda:N`.
        report: called with each state of the progress.
        request: the other fields of a job's request, such as `target` or `ablation`.

    Raises InvalidRequest, whose `places` name the wrong fields; ExportRefused if the network
    cannot be exported; JobFailed if the computation fails; NotPossible if PyTorch is not
    installed.

    >>> import numpy as np
    >>> import unitrank
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    >>> result = unitrank.rank(network, "1", x, methods=["gradient", "conductance"])
    >>> result.importances("conductance")["all"].shape
    (6,)
    """
    columns = {name: array_of(values, name) for name, values in {"x": x, "y": y, **(fields or {})}.items() if values is not None}
    scores = LocalScores.of(methods, sum(columns["x"].shape[:1]))
    names = layer if isinstance(layer, str) else list(layer)
    by = clusters or {"by": "all" if y is None else "label"}
    job_request = parsed({"model": NAME, "dataset": NAME, "layer": names, "methods": scores.methods, "clusters": by, **request})
    _refuse_named_datasets(job_request, scores.tables)
    columns |= scores.fields
    with local_jobs(module, None, columns, example_inputs=example_inputs, device=device, scores=scores.tables) as jobs:
        return jobs.run(job_request, report)


def _refuse_named_datasets(request: JobRequest, tables: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for `scores` that name a dataset of a service."""
    for index, method in enumerate(request.methods):
        for name in method.datasets:
            if name not in tables:
                detail = f"dataset {name!r} not found: without a service no dataset has a name; pass the array to unitrank.given"
                raise _invalid([Invalid(pointer=f"/methods/{index}/scores", detail=detail, code="dataset_not_found")])


class LocalJobs:
    """Runs jobs on one network and one table, which are read once.

    `further`: name → table of the datasets of scores. `digests`: those of all contents, by kind or
    by name.
    """

    def __init__(
        self,
        manifest: Manifest,
        archive: Path,
        table: Table,
        further: Mapping[str, Table],
        digests: Mapping[str, str],
        device: str,
    ) -> None:
        self.manifest = manifest
        self.table = table
        self._further = further
        self._archive = archive
        self._digests = digests
        self._device = device

    def run(self, job_request: JobRequest, report: Callable[[dict[str, Any]], None] = lambda progress: None) -> JobResult:
        """Runs a job. Raises InvalidRequest."""
        from unitrank_engine import pipeline

        resolved: dict[str, Any] = {kind: {"name": NAME, "digest": self._digests[kind]} for kind in ("model", "dataset")}
        # The random numbers follow from the clean archive, as in the service.
        resolved["clean"] = self._digests["clean"]
        resolved["further"] = {name: {"name": name, "digest": self._digests[name]} for name in self._further}
        with warnings.catch_warnings():
            # torch warns about its own code.
            warnings.simplefilter("ignore", FutureWarning)
            request = _checked(job_request, self.manifest, self.table, self._further)
            summary, arrays = pipeline.run(request, resolved, self._program, self.table, report, further=self._further)
        classes = given_names(job_request.metadata.get("classes"))
        return job_result(parsed_summary(json.dumps(summary)), arrays, classes)

    @cached_property
    def _program(self) -> Program:
        from unitrank_engine.archive import load
        from unitrank_engine.device import claim
        from unitrank_engine.program import Program

        claim(self._device)
        return Program.from_exported(load(self._archive), self._device)


@contextmanager
def local_jobs(
    module: torch.nn.Module,
    data: Any,
    fields: Mapping[str, Any],
    *,
    example_inputs: Any,
    device: str,
    scores: Mapping[str, Mapping[str, Any]] = NO_SCORES,
) -> Iterator[LocalJobs]:
    """Yields jobs on a network and on data, with the errors of `rank`.

    `data`, `fields`: as `dataset_file` takes them. `example_inputs`: None: the first rows of `x`.
    `scores`: name of a dataset of scores → its fields.

    Raises ExportRefused, InvalidRequest, JobFailed and NotPossible.
    """
    with needing_engine(), ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="unitrank-"))
        table = stack.enter_context(dataset_file(data, fields))
        files = {name: stack.enter_context(dataset_file(None, columns)) for name, columns in scores.items()}
        import torch

        from unitrank_engine.archive import clean
        from unitrank_engine.errors import EngineError
        from unitrank_tables import open_table
        from unitrank_tables.errors import BadTable

        # In a caller's block without gradients, scores would be 0.
        for mode in (torch.inference_mode(False), torch.enable_grad()):
            stack.enter_context(mode)
        archive, cleaned = Path(folder, "model.pt2"), Path(folder, "clean.pt2")
        try:
            rows = stack.enter_context(open_table(table))
            further = {name: stack.enter_context(open_table(file)) for name, file in files.items()}
            manifest = export(module, _first_rows(rows) if example_inputs is None else example_inputs, archive)
            clean(archive, cleaned)
            paths = {"model": archive, "clean": cleaned, "dataset": table, **files}
            yield LocalJobs(manifest, cleaned, rows, further, {name: _digest(path) for name, path in paths.items()}, device)
        except BadTable as error:
            raise InvalidRequest(f"{error.code}: {error.detail}", code=error.code, detail=error.detail) from error
        except EngineError as error:
            raise JobFailed(f"{error.code}: {error.detail}", code=error.code, detail=error.detail) from error


def _first_rows(table: Table) -> Any:
    if "x" not in table.fields:
        raise NotPossible(
            f"the data has no field 'x', only {', '.join(map(repr, table.fields))}, so the network cannot be exported with its "
            "rows; give example_inputs",
            code="invalid_request",
        )
    return table.read("x", slice(0, 2))


def parsed(fields: Mapping[str, Any]) -> JobRequest:
    """The request, checked as strictly as the service checks it."""
    body = request_body(None, fields)
    try:
        return JobRequest.model_validate_json(body)
    except ValidationError as error:
        errors = ({**detail, "loc": ("body", *detail["loc"])} for detail in error.errors())
        raise _invalid(invalid_places(errors, json.loads(body), JobRequest)) from error


def _checked(request: JobRequest, manifest: Any, table: Table, further: Mapping[str, Table]) -> JobRequest:
    dataset = _facts_of(table)
    facts = Facts(
        manifest=manifest,
        fields=dataset.fields,
        examples=dataset.examples,
        distinct=dataset.distinct,
        max_result_bytes=UNBOUNDED,
        tables={name: _facts_of(each) for name, each in further.items()},
        true_rows=lambda field: int(table.read(field, slice(None)).sum()),
    )
    try:
        return checked(request, facts)
    except RequestRejected as error:
        raise _invalid([Invalid(pointer=flaw.pointer, detail=flaw.detail, code=flaw.code) for flaw in error.flaws]) from error


def _facts_of(table: Table) -> TableFacts:
    fields = {name: FieldInfo(**info) for name, info in table.fields.items()}
    return TableFacts(fields, table.examples, lambda field: table.distinct(field, MOST_CLUSTERS + 1))


def _invalid(places: list[Invalid]) -> InvalidRequest:
    first = places[0]
    code = first.code or "invalid_request"
    message = "\n  ".join([f"{code}: {first.detail}", *(f"{place.pointer}: {place.detail}" for place in places)])
    return InvalidRequest(message, code=code, detail=first.detail, places=places)


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
