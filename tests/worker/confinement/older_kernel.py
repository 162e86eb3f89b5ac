"""Starts a child as on a kernel that lacks Landlock or seccomp, and prints what the child says.

Usage: older_kernel.py CONFINEMENT SCRATCH CALL... — the system calls that the kernel lacks.
"""

import errno
import sys
from pathlib import Path

import pyseccomp

from tests.worker.confinement.children import child
from unitrank_worker.children.handle import NotStarted


def main(confinement: str, scratch: str, *calls: str) -> None:
    kernel = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for call in calls:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, call)
        kernel.add_rule(pyseccomp.ERRNO(errno.ENOSYS), number)
    kernel.load()
    try:
        with child(Path(scratch), "tests.worker.scripted_engine:Scripted", confinement) as handle:
            sys.stdout.write(f"ready: {handle.unconfined}\n")
    except NotStarted as error:
        sys.stdout.write(f"not started: {error}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
