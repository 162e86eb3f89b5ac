"""The engine in the child: it runs jobs and inspections on open files, without the store."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_schemas.checks import Facts, RequestRejected, checked
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import MOST_CLUSTERS, TableFacts
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.models import Manifest, format_of
from unitrank_tables import ChunkDigests, Table, VerifiedChunks, open_table
from unitrank_tables.sharded.ranges import RangeReader
from unitrank_worker.child_settings import ChildSettings

Report = Callable[[Json], None]
"""Takes the progress of a job. Raises Cancelled if the job must stop."""
# Any: arrays hold numbers of several types.
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]
Span = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Assignment:
    """A job for the engine.

    `resolved`: the exact contents, and `clean`, the digest of the cleaned archive. `table`: file of
    the dataset. `archive`: file of the model; None for a model that the engine keeps in memory.
    `digests`: digests of the chunks of `table`; the engine verifies each chunk before it reads it.
    `shards`: makes a reader of the shards of a dataset that is an index, from its position: 0 for
    `table`, then those of `further`.
    `manifest`: set for a request that has not been checked. `parts`: parts of earlier jobs.
    `span`: opens a span of the trace around a stage.
    `further`: reference → file and chunk digests of the datasets that entries of `methods` read.
    `runner`: runs the passes over rows, in this process or in others.
    """

    id: str
    request: JobRequest
    resolved: Json
    table: Path
    archive: Path | None = None
    manifest: Json | None = None
    parts: Any = None  # Any: the engine's own protocol, which is imported with torch
    span: Span = nullcontext
    runner: Any = None  # Any: as above
    digests: ChunkDigests | None = None
    further: Mapping[str, tuple[Path, ChunkDigests | None]] = field(default_factory=dict)
    shards: Callable[[int], RangeReader] | None = None


HEADER_BYTES = 256
"""Bytes of an array's entry in the header of the file, at most for a usual name."""


@dataclass(frozen=True)
class Upload:
    """A model to inspect.

    `source`: file of the uploaded bytes. `architecture`: recipe of the format; None for an archive.
    """

    source: Path
    architecture: Json | None = None


@dataclass(frozen=True)
class WarmModel:
    """A model that the engine keeps in memory.

    `digest`: digest of the cleaned archive. `name`: the model's name in the last job.
    """

    digest: str
    name: str


@runtime_checkable
class Engine(Protocol):
    """An engine. A child process loads the engine once; the engine keeps models between jobs."""

    def open(self) -> None:
        """Open the device, once, before the first job. Raises EngineError.

        Until then the engine must not use the device: a spare child waits for its first job.
        """
        ...

    def device_memory(self) -> int:
        """Bytes of the GPU's memory, after `open`; 0 on a CPU."""
        ...

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        """The summary and the arrays of a job.

        The engine calls `report` often: a cancelled job stops in this call.
        """
        ...

    def inspect(self, upload: Upload, target: Path) -> Json:
        """Write the cleaned archive to `target`, and return the manifest. Raises EngineError."""
        ...

    def warm(self) -> list[WarmModel]:
        """The models that are in memory, the most recently used last."""
        ...


class TorchEngine:
    """The engine that workers use. Only the child creates it, because that imports torch."""

    def __init__(self, settings: ChildSettings, device: str) -> None:
        from unitrank_engine import pipeline
        from unitrank_engine.archive import allow_operators
        from unitrank_engine.device import claim, total_bytes
        from unitrank_engine.models import formats
        from unitrank_worker.warm_models import WarmModels, warm_up

        try:
            allow_operators(settings.operators)
        except ValueError as error:
            raise EngineError("unknown_operator", f"UNITRANK_OPERATORS: {error}") from error
        warm_up()
        self._formats, self._pipeline = formats, pipeline
        self._settings = settings
        self._claim: Callable[[], None] = partial(claim, device)
        self._memory: Callable[[], int] = partial(total_bytes, device)
        self._models = WarmModels.on(device, count=settings.warm_models, bytes=settings.warm_models_bytes)
        self._names: dict[str, str] = {}
        self._verified = VerifiedChunks()

    def open(self) -> None:
        """As in `Engine`. Raises EngineError `no_device` if the device is missing or full."""
        self._claim()

    def device_memory(self) -> int:
        """As in `Engine`."""
        return self._memory()

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        """As in `Engine`. Raises EngineError also if the request does not fit its model.

        A request is checked here if its model was not ready when the job was posted.
        """
        resolved, digest = assignment.resolved, str(assignment.resolved["clean"])
        with ExitStack() as stack:
            files = [(assignment.table, assignment.digests), *assignment.further.values()]
            table, *others = [stack.enter_context(self._opened(*file, number, assignment)) for number, file in enumerate(files)]
            further = dict(zip(assignment.further, others, strict=True))
            request = assignment.request if resolved.get("checked") else self._checked(assignment, table, further)
            if digest not in self._models.digests():
                report({"done": 0, "total": 0, "unit": "rows", "stage": "loading the model", "eta": None})
            with assignment.span("load"):
                program = self._models.get(digest, assignment.archive)
            self._names[digest] = str(resolved["model"].get("name") or resolved["model"]["digest"])
            summary, arrays = self._pipeline.run(
                request,
                resolved,
                program,
                table,
                report,
                job=assignment.id,
                parts=assignment.parts,
                span=assignment.span,
                further=further,
                runner=assignment.runner,
            )
            return summary, fitting(arrays, self._settings.max_result_bytes)

    def _opened(self, file: Path, digests: ChunkDigests | None, number: int, assignment: Assignment) -> Table:
        shards = assignment.shards
        ranges = None if shards is None else lambda index: shards(number)
        return open_table(file, scratch=Path(self._settings.scratch), digests=digests, verified=self._verified, ranges=ranges)

    def inspect(self, upload: Upload, target: Path) -> Json:
        """As in `Engine`."""
        return self._formats.inspect(format_of(upload.architecture), upload.source, target)

    def warm(self) -> list[WarmModel]:
        """As in `Engine`."""
        return [WarmModel(digest, self._names.get(digest, digest)) for digest in self._models.digests()]

    def _checked(self, assignment: Assignment, table: Table, further: Mapping[str, Table]) -> JobRequest:
        dataset = _facts_of(table)
        facts = Facts(
            manifest=Manifest.model_validate(assignment.manifest, extra="ignore"),
            fields=dataset.fields,
            examples=dataset.examples,
            distinct=dataset.distinct,
            max_result_bytes=self._settings.max_result_bytes,
            max_shapley_operations=self._settings.max_shapley_operations,
            tables={reference: _facts_of(each) for reference, each in further.items()},
            true_rows=lambda field: int(table.read(field, slice(None)).sum()),
        )
        try:
            return checked(assignment.request, facts)
        except RequestRejected as error:
            flaw = error.flaws[0]
            raise EngineError(flaw.code, flaw.detail) from error


OPTIONAL = ("unit_examples/", "least_step/")


def fitting(arrays: Arrays, most: int) -> Arrays:
    """Return the arrays without optional ones if the result would be too large with them.

    These are the examples of units, and the steps from which masks are made. The checks of a
    request do not count them, so that they never make a job fail.
    """
    if sum(array.nbytes + HEADER_BYTES for array in arrays.values()) <= most:
        return arrays
    return {name: array for name, array in arrays.items() if not name.startswith(OPTIONAL)}


def _facts_of(table: Table) -> TableFacts:
    fields = {name: FieldInfo(**info) for name, info in table.fields.items()}
    return TableFacts(fields, table.examples, lambda field: table.distinct(field, MOST_CLUSTERS + 1))
