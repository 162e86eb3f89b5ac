"""Parts: what a job computed that a later one on the same work need not compute again, each under what it depends on.

A part is never anything but what the job itself would compute, to the bit: whatever has a say in one bit of it is in its
fingerprint, and nothing in the engine makes a ranking's numbers depend on which other rankings are in its job.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from unitrank_engine.job.context import JobContext
from unitrank_tables.part import Part

FORMAT = 1
"""Counts up when a part's arrays change, or any sum in the engine is made in another order."""
REQUEST = {"layer", "at", "units", "output", "target", "baseline", "preprocess", "inputs", "labels", "seed"}
"""Fields of a request that every part depends on, beside the contents and the clusters."""


@runtime_checkable
class PartStore(Protocol):
    """Where parts lie; what is not found is computed."""

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]: ...

    def put(self, parts: Mapping[str, Part]) -> None: ...


class NoPartStore:
    """Nothing is known and nothing is kept."""

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        return {}

    def put(self, parts: Mapping[str, Part]) -> None:
        return


@dataclass(frozen=True)
class Shelf:
    """The parts of one job."""

    parts: PartStore
    basis: str
    """The fingerprint of what all of them depend on."""
    reused: list[str] = field(default_factory=list)
    """What was not computed again, as the result says it."""

    @classmethod
    def of(cls, parts: PartStore, context: JobContext, batch: int) -> "Shelf":
        request = context.request.model_dump(mode="json", include=REQUEST)
        return cls(parts, fingerprint(machine(context.device), batch, context.streams.key, request, memberships(context)))

    def fingerprint(self, kind: str, *depends: object) -> str:
        return fingerprint(self.basis, kind, *depends)

    def find(self, fingerprints: Iterable[str]) -> dict[str, Part]:
        """The parts that are there."""
        return self.parts.get(list(fingerprints))

    def keep(self, parts: Mapping[str, Part]) -> None:
        if parts:
            self.parts.put(parts)


def fingerprint(*depends: object) -> str:
    """The same for the same values, however a mapping is ordered."""
    text = json.dumps([FORMAT, version("unitrank"), *depends], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def memberships(context: JobContext) -> list[object]:
    """Of each cluster its name, and the digests of its rows and of their sides."""
    return [
        [cluster.name, digest(cluster.rows), digest(halves.sides)]
        for cluster, halves in zip(context.clusters, context.halves, strict=True)
    ]


def digest(*arrays: np.ndarray) -> str:
    """Of types, shapes and values."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def machine(device: torch.device) -> list[object]:
    """What rounds: another processor, another number of threads or another torch adds in another order."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return [torch.__version__, properties.name, properties.total_memory]
    return [torch.__version__, _processor(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


@cache
def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    return next((line for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


def usable(part: Part | None, read: Callable[[Part], Any]) -> Any:
    """What `read` makes of a part; None where there is none, or it is not what it should be."""
    # Any: whatever a reader makes
    if part is None:
        return None
    try:
        return read(part)
    except (KeyError, ValueError, TypeError, IndexError):
        return None
