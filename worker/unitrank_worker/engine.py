"""The seam between a worker's process and what it computes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_schemas.checks import Facts, Rejected, checked
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import MOST_CLUSTERS
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.models import Architecture, Manifest
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelRecord
from unitrank_store.errors import RecordNotFound
from unitrank_store.observability import tracing
from unitrank_store.results.part_cache import TenantPartCache
from unitrank_store.settings import Settings
from unitrank_tables import Table, open_table

Report = Callable[[Json], None]
# Any: whatever number the arrays hold
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True)
class Assignment:
    """A job as the engine gets it.

    `resolved` holds the exact contents, `model` the manifest and the cleaned archive, `parts` what earlier jobs left.
    """

    id: str
    request: JobRequest
    resolved: Json
    model: ModelRecord | None
    parts: TenantPartCache | None = None


@runtime_checkable
class Engine(Protocol):
    """What a child process loads once, and keeps warm from job to job."""

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        """The summary and the arrays of a job. Calls `report` often: that is also where a cancelled job stops."""
        ...

    def inspect(self, model: ModelRecord) -> tuple[str, Json]:
        """The digest of the cleaned archive, which then lies in the blob store, and the manifest. Raises EngineError."""
        ...

    def warm(self) -> list[str]:
        """Names of the models that are held ready."""
        ...


class TorchEngine:
    """The engine that the workers run. torch is imported when it is made: no other process of the worker loads it."""

    def __init__(self, settings: Settings, device: str) -> None:
        from unitrank_engine import pipeline
        from unitrank_engine.archive import let_in
        from unitrank_engine.device import claim
        from unitrank_engine.models import architectures, inspection
        from unitrank_worker.warm_models import WarmModels, warm_up

        claim(device)
        try:
            let_in(settings.operators)
        except ValueError as error:
            raise EngineError("unknown_operator", f"UNITRANK_OPERATORS: {error}") from error
        warm_up()
        self._architectures, self._inspection, self._pipeline = architectures, inspection, pipeline
        self._max_result_bytes = settings.max_result_bytes
        self._blobs = BlobStore.of(settings)
        self._models = WarmModels.of(self._blobs, settings.warm_models_bytes, device)
        self._names: dict[str, str] = {}

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        """Raises EngineError too for a request that does not fit a model that was not ready when it was posted."""
        model, resolved = assignment.model, assignment.resolved
        if model is None or model.clean is None:
            raise EngineError("model_not_ready", "the model that this job was accepted for is not there any more")
        with open_table(self._dataset(resolved["dataset"]["digest"])) as table:
            request = assignment.request if resolved.get("checked") else self._fitting(assignment.request, model, table)
            if model.clean not in self._models.digests():
                report({"done": 0, "total": 0, "unit": "rows", "stage": "loading the model", "eta": None})
            with tracing.span("load"):
                program = self._models.get(model.clean)
            self._names[model.clean] = str(resolved["model"].get("name") or model.digest)
            contents = resolved | {"clean": model.clean}
            return self._pipeline.run(request, contents, program, table, report, assignment.id, assignment.parts, tracing.span)

    def inspect(self, model: ModelRecord) -> tuple[str, Json]:
        # where a sweep finds it: a hostile archive may well end this process
        with self._blobs.draft() as cleaned:
            if model.architecture and model.weights:
                architecture = Architecture.model_validate(model.architecture)
                manifest = self._architectures.inspect(architecture, self._blobs.path(model.weights), cleaned)
            else:
                manifest = self._inspection.inspect(self._blobs.path(model.digest), cleaned)
            with self._blobs.writer() as writer, cleaned.open("rb") as archive:
                while piece := archive.read(1 << 20):
                    writer.write(piece)
        return writer.digest, manifest

    def warm(self) -> list[str]:
        return [self._names.get(digest, digest) for digest in self._models.digests()]

    def _dataset(self, digest: str) -> Path:
        try:
            return self._blobs.path(digest)
        except RecordNotFound as error:
            # deleted between the look at it and the job's creation, which protects it
            raise EngineError("dataset_not_found", "the dataset that this job was accepted for is not there any more") from error

    def _fitting(self, request: JobRequest, model: ModelRecord, table: Table) -> JobRequest:
        facts = Facts(
            manifest=Manifest.model_validate(model.manifest),
            fields={name: FieldInfo(**info) for name, info in table.fields.items()},
            examples=table.examples,
            distinct=lambda field: table.distinct(field, MOST_CLUSTERS + 1),
            max_result_bytes=self._max_result_bytes,
        )
        try:
            return checked(request, facts)
        except Rejected as error:
            flaw = error.flaws[0]
            raise EngineError(flaw.code, flaw.detail) from error
