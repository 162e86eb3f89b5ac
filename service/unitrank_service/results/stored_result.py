"""The stored result of a job: its summary and its arrays, in full or of one layer."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import BinaryIO, cast

from unitrank_schemas.checks import nearest
from unitrank_schemas.jobs import WILDCARD
from unitrank_schemas.results import JOINT
from unitrank_service.errors import HttpProblem
from unitrank_service.results.layers.layer_parts import part_names, part_of
from unitrank_service.results.layers.local_arrays import LocalArrays, narrowed_to_layer
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.record import JobRecord
from unitrank_store.results.array_file import ArrayFile
from unitrank_store.results.chunks import CHUNK
from unitrank_store.results.result_store import ResultLocation, ResultStore

REASONS = {"failed": "job_failed", "cancelled": "job_cancelled", "timed_out": "job_timed_out"}
"""Status of a job that ended without a result → the code of the problem."""


class StoredResult:
    """The stored result of a job.

    The class and each method raise HttpProblem where the result does not exist yet, or has expired.
    """

    def __init__(self, record: JobRecord, results: ResultStore, result_ttl: int) -> None:
        """`result_ttl`: seconds after which a result expires."""
        self._results = results
        self._result_ttl = result_ttl
        self._id = record.id
        self._requested = record.request["layer"]
        self._is_joint = bool(record.request.get("joint"))
        self._layer: str | None = None
        if not record.ended:
            detail = f"the job {record.id} is {record.status}; it has a result after it has succeeded"
            raise HttpProblem("not_finished", detail)
        if record.status in REASONS:
            reason = (record.problem or {}).get("detail") or record.status.replace("_", " ")
            raise HttpProblem(REASONS[record.status], f"the job {record.id} has no result: {reason}")
        if record.result is None or (record.expires_at or 0) < time.time():
            raise self._expired()
        # The record holds the location as JSON.
        self._location = cast(ResultLocation, record.result)
        self._parts: list[str] | None = None

    @property
    def parts(self) -> list[str]:
        """The names of the layers, then `joint` if there is one; none for a result of one layer."""
        if self._parts is None:
            self._parts = self._read_parts()
        return self._parts

    def of_layer(self, name: str | None) -> "StoredResult":
        """Return the result of one layer, as a job of this layer alone has it.

        `name`: a layer or `joint`; None for the first layer. Raises HttpProblem for another name.
        """
        names = self.parts or [str(self._requested)]
        if name is not None and name not in names:
            raise HttpProblem("layer_not_found", f"layer {name[:100]!r} not found in the result{nearest(name, names)}")
        if not self.parts:
            return self
        chosen = copy(self)
        chosen._layer = names[0] if name is None else name
        return chosen

    @property
    def whole(self) -> "StoredResult":
        """The result of all layers."""
        whole = copy(self)
        whole._layer = None
        return whole

    @property
    def layer(self) -> str | None:
        """The chosen layer of a layered result; None for a result in full."""
        return self._layer

    def summary_bytes(self) -> Iterator[bytes]:
        """Return the summary as JSON. A summary of one chunk is verified before it is returned."""
        if self._layer is not None:
            return self._layer_bytes()
        with self._expiring():
            chunks = self._results.summary_bytes(self._location)
            return chunks if self._location["summary_bytes"] > CHUNK else iter([b"".join(chunks)])

    def summary_file(self) -> BinaryIO:
        """Return the summary as a local file, which is verified. Close the file."""
        with self._expiring():
            file = self._results.summary_file(self._location)
        if self._layer is None:
            return file
        with file:
            return part_of(file, self._layer, self.summary_scratch)

    def array_file(self) -> ArrayFile:
        """Return all arrays as a local file. Close the file."""
        with self._expiring():
            return narrowed_to_layer(self._results.array_file(self._location), self._layer, self._parts or ())

    @contextmanager
    def array_path(self) -> Iterator[LocalArrays]:
        """Yield a local file with all arrays, which is verified.

        A result can expire inside the block: a block that then finds no file raises the problem.
        """
        with self._expiring(), self._results.array_path(self._location) as path:
            try:
                yield LocalArrays(path, self._layer, self._parts or ())
            except FileNotFoundError:
                # Raises RecordNotFound if the result has expired. If not, another file is missing.
                self._results.array_file(self._location).close()
                raise

    def scratch_file(self) -> BinaryIO:
        """Return an empty unnamed file beside the blobs. Close the file."""
        return self._results.scratch_file()

    def summary_scratch(self) -> BinaryIO:
        """Return an empty file for a part of the summary: in memory if it is small."""
        return io.BytesIO() if self._location["summary_bytes"] <= CHUNK else self.scratch_file()

    def safetensors(self) -> Iterator[bytes]:
        """Return all arrays, those of all layers, as the bytes of a safetensors file."""
        with self._expiring():
            return self._results.arrays_bytes(self._location)

    def _layer_bytes(self) -> Iterator[bytes]:
        with self.summary_file() as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _read_parts(self) -> list[str]:
        layers = self._requested if isinstance(self._requested, list) else [self._requested]
        if not any(WILDCARD in name for name in layers):
            joint = [JOINT] if self._is_joint else []
            return [*layers, *joint] if isinstance(self._requested, list) else []
        # The job was sent before its model was ready: only the result has the layers of a pattern.
        with self._expiring(), self._results.summary_file(self._location) as file:
            return part_names(file)

    @contextmanager
    def _expiring(self) -> Iterator[None]:
        """Turn RecordNotFound into the problem `expired`."""
        try:
            yield
        except RecordNotFound as error:
            raise self._expired() from error

    def _expired(self) -> HttpProblem:
        detail = f"the result of the job {self._id} was deleted after {self._result_ttl} s; submit the job again"
        return HttpProblem("expired", detail)
