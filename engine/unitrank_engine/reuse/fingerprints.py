"""Fingerprints are digests of everything that can change a bit of a part.

Two jobs give a part the same fingerprint only if both would compute the same bits. In the engine, a
ranking's numbers do not depend on the job's other rankings, so neither do the fingerprints of its
parts.
"""

import hashlib
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from unitrank_engine.job.context import JobContext

FORMAT = 12
"""Increase this number when a part's arrays change, or the engine adds any sum in a new order."""
REQUEST = {"layer", "at", "units", "output", "target", "baseline", "preprocess", "inputs", "labels", "seed"}
"""Fields of a request that every part depends on, besides the contents and the clusters."""


def fingerprint(*depends: object) -> str:
    """Return the SHA-256, in hex, of JSON values and of Unitrank's version.

    The order of a mapping's keys does not matter.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps([FORMAT, _version(), *depends], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_of_job(context: JobContext, batch: int) -> str:
    """Return the fingerprint of everything that all parts of a job depend on.

    `batch`: rows in one pass through the model, which changes the rounding.
    """
    request = context.request.model_dump(mode="json", include=REQUEST)
    # Passes through several places at once can round differently.
    shared = [split.place.node.name for split in context.shared_splits]
    return fingerprint(machine(context.device), batch, context.streams.key, request, shared, _memberships(context))


def _memberships(context: JobContext) -> list[object]:
    """Return each cluster's name, and the digests of its rows and of their sides."""
    if context.column is not None:
        return [*(cluster.name for cluster in context.clusters), digest(context.column.slots)]
    return [
        [cluster.name, digest(cluster.rows[:]), digest(halves.sides)]
        for cluster, halves in zip(context.clusters, context.halves, strict=True)
    ]


def digest(*arrays: np.ndarray) -> str:
    """Return the SHA-256, in hex, of the arrays' types, shapes and values."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str} {array.shape} ".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def machine(device: torch.device) -> list[object]:
    """Return the values that decide the rounding: torch's version, processor and threads or GPU."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return [torch.__version__, properties.name, properties.total_memory]
    return [torch.__version__, _processor(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


@cache
def _version() -> str:
    """Return Unitrank's version. Reading it from the package's files takes 1 ms."""
    return version("unitrank")


@cache
def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line for line in lines if line.startswith("model name")), platform.processor() or platform.machine())
