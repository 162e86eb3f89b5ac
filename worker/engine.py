"""The seam between a worker's process and what it computes."""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from api_schemas.jobs import JobRequest
from store.blobs import Blobs
from store.record import Json
from store.settings import Settings

Report = Callable[[Json], None]
Arrays = dict[str, NDArray[np.generic]]


class Engine(Protocol):
    """What a child process loads once, and keeps warm from job to job."""

    def run(self, request: JobRequest, resolved: Json, report: Report) -> tuple[Json, Arrays]:
        """The summary and the arrays of a job. Calls `report` often: that is also where a cancelled job stops."""
        ...

    def inspect(self, digest: str) -> tuple[str, Json]:
        """The digest of the cleaned archive, which then lies in the blob store, and the manifest. Raises EngineError."""
        ...

    def warm(self) -> list[str]:
        """Names of the models that are held ready."""
        ...


class TorchEngine:
    """The engine that the workers run; torch is imported when it is made."""

    def __init__(self, settings: Settings, device: str) -> None:
        self._device = device
        self._blobs = Blobs.of(settings)
        # Any: the modules are imported here and not at the top, so that no other process of the worker loads torch
        self._pipeline: Any = importlib.import_module("worker.pipeline")

    def run(self, request: JobRequest, resolved: Json, report: Report) -> tuple[Json, Arrays]:
        summary, arrays = self._pipeline.run(request, resolved, self._blobs, report)
        return summary, arrays

    def inspect(self, digest: str) -> tuple[str, Json]:
        inspection: Any = importlib.import_module("worker.inspection")
        clean, manifest = inspection.inspect(self._blobs.path(digest))
        with self._blobs.writer() as writer, clean.open("rb") as archive:
            while piece := archive.read(1 << 20):
                writer.write(piece)
        return writer.digest, manifest

    def warm(self) -> list[str]:
        return []
