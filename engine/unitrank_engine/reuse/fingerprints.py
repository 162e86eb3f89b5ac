"""Fingerprints: digests of everything that can change one bit of a part.

Two jobs give a part the same fingerprint only if both would compute the same bits. Nothing in the engine makes a
ranking's numbers depend on the other rankings of its job, so a ranking's parts depend on the ranking alone.
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

FORMAT = 1
"""Counts up when a part's arrays change, or any sum in the engine is made in another order."""
REQUEST = {"layer", "at", "units", "output", "target", "baseline", "preprocess", "inputs", "labels", "seed"}
"""Fields of a request that every part depends on, beside the contents and the clusters."""


def fingerprint(*depends: object) -> str:
    """The same for the same values, however a mapping is ordered."""
    text = json.dumps([FORMAT, version("unitrank"), *depends], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_of_job(context: JobContext, batch: int) -> str:
    """The fingerprint of what all parts of a job depend on; `batch`: rows of one pass through the model."""
    request = context.request.model_dump(mode="json", include=REQUEST)
    return fingerprint(machine(context.device), batch, context.streams.key, request, _memberships(context))


def _memberships(context: JobContext) -> list[object]:
    """Of each cluster its name, and the digests of its rows and of their sides."""
    return [
        [cluster.name, digest(cluster.rows), digest(halves.sides)]
        for cluster, halves in zip(context.clusters, context.halves, strict=True)
    ]


def digest(*arrays: np.ndarray) -> str:
    """The SHA-256, in hex, of types, shapes and values."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str} {array.shape} ".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


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
