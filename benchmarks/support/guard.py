"""Builds the library that puts allocations between guard pages, and switches it on in a process."""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("guard_pages.c")
FILLS = (0x5B, 0xC3)
"""Bytes that new memory holds: 6.2e16 and -391 as numbers, and outside of a tensor as positions."""
_ENVIRONMENT = threading.Lock()
"""Held while the environment of this process is changed: it is the same for all threads."""


def build(folder: Path) -> Path:
    """The path of the library, built in `folder`. Raises RuntimeError without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("gcc is not on PATH; install gcc to run operators between guard pages")
    library = folder / "guard_pages.so"
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


@contextmanager
def preloaded(library: Path) -> Iterator[None]:
    """A context manager in which new processes load the library before others.

    Only one thread at a time is inside.
    """
    with _ENVIRONMENT:
        before = os.environ.get("LD_PRELOAD")
        os.environ["LD_PRELOAD"] = str(library)
        try:
            yield
        finally:
            if before is None:
                del os.environ["LD_PRELOAD"]
            else:
                os.environ["LD_PRELOAD"] = before


@contextmanager
def guarded(fill: int, *, left: bool = False, tensors_only: bool = False) -> Iterator[None]:
    """A context manager that guards new memory of this process, which has the library preloaded.

    `fill`: the byte that new memory holds.
    `left`: whether the page without access is in front of an allocation, and not behind it.
    `tensors_only`: whether other large allocations, many of them Python's, are left out.
    """
    switch = ctypes.CDLL(None).guard_pages
    switch(1 if tensors_only else 2, fill, int(left))
    try:
        yield
    finally:
        switch(0, 0, 0)
