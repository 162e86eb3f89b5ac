"""Limits a child's memory: if a model used all memory, the kernel could kill the store."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

SHARE = 0.75
"""Share of the machine's memory that a child may use by default."""
CGROUP = Path("/sys/fs/cgroup/memory.max")


def usable_bytes(limit: int | None) -> int:
    """The bytes that a child on the CPU may use: `limit`, or the machine's memory if it is 0.

    None: a share of the machine's memory.
    """
    return int(available_bytes() * SHARE) if limit is None else limit or available_bytes()


def limit_memory(limit: int | None) -> None:
    """Make allocations fail beyond `limit` bytes.

    None: a share of the machine's memory. 0: no limit.

    The limit counts writable memory. It does not count files that are mapped to be read, nor
    address space: torch reserves much of it and uses little. Do not call this in a process that
    uses CUDA, because its driver maps memory that it never uses.
    """
    if limit != 0 and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (usable_bytes(limit),) * 2)


def available_bytes() -> int:
    """The memory of the machine or of the container, in bytes."""
    machine = int(psutil.virtual_memory().total)
    try:
        return min(machine, int(CGROUP.read_text()))
    except (OSError, ValueError):
        # There is no container, its limit is elsewhere, or the limit is "max".
        return machine


def make_expendable() -> None:
    """Let the kernel kill this process first if memory runs out. A crash writes no core dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
