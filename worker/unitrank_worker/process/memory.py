"""A child's memory: a model can ask for any amount, and the kernel then may kill the store for it."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

SHARE = 0.75
CGROUP = Path("/sys/fs/cgroup/memory.max")


def limit_memory(limit: int | None) -> None:
    """From now on an allocation beyond the limit fails; without one it is a share of the machine's, 0 stands for no limit.

    What a process writes to counts, not its address space, of which torch takes much and uses little. Files that are
    mapped to be read do not count. CUDA is left alone: its driver maps what it never uses.
    """
    limit = int(memory_here() * SHARE) if limit is None else limit
    if limit and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def memory_here() -> int:
    """Bytes of the machine, or of the container."""
    machine = int(psutil.virtual_memory().total)
    try:
        return min(machine, int(CGROUP.read_text()))
    except (OSError, ValueError):
        # no container, another kind of one, or "max"
        return machine


def make_expendable() -> None:
    """Where memory runs out all the same, the kernel ends a child and not the store; and no crash leaves an image behind."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
