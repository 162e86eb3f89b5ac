"""Models that stay in memory between jobs: loading a model takes about a second."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import nn

from unitrank_engine.archive import ArchiveError, load
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program


def warm_up() -> None:
    """Import the modules that jobs need, before the first job: torch imports some only for a model.

    This exports and loads a tiny model (2 s), and imports k-means (0.3 s).
    """
    import sklearn.cluster  # noqa: F401

    dynamic = {0: torch.export.Dim("batch", min=1)}
    Program.from_exported(torch.export.export(nn.Linear(1, 1).eval(), (torch.zeros(2, 1),), dynamic_shapes=(dynamic,)))


class WarmModels:
    """The most recently used programs, by the digest of their cleaned archive.

    The program in use always stays, also if it is larger than the limit.
    """

    def __init__(self, load_program: Callable[[Path], Program], *, count: int, bytes: int) -> None:
        """`load_program`: builds a program from a cleaned archive.

        `count`, `bytes`: maximum number and bytes of the programs.
        """
        self._load = load_program
        self._count = count
        self._limit = bytes
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._sizes: dict[str, int] = {}

    @classmethod
    def on(cls, device: str, *, count: int, bytes: int) -> "WarmModels":
        """A store of programs on the device."""

        def load_program(archive: Path) -> Program:
            try:
                return Program.from_exported(load(archive), device)
            except ArchiveError as error:
                raise EngineError(error.code, error.detail) from error

        return cls(load_program, count=count, bytes=bytes)

    def get(self, digest: str, archive: Path | None) -> Program:
        """The program, loaded from its archive if it is not in memory.

        Loading removes the least recently used programs if a limit is exceeded.
        Raises EngineError if the program is not in memory and `archive` is None.
        """
        if digest not in self._programs:
            if archive is None:
                raise EngineError("model_not_ready", f"model {digest} is not loaded, and its archive was not given")
            before = resident_bytes()
            program = self._load(archive)
            # The growth counts the program's Python objects: a tiny net has 0.5 MiB of them.
            self._sizes[digest] = max(program.bytes, resident_bytes() - before)
            self._programs[digest] = program
        self._programs.move_to_end(digest)
        while len(self._programs) > 1 and (len(self._programs) > self._count or sum(self._sizes.values()) > self._limit):
            oldest, _ = self._programs.popitem(last=False)
            del self._sizes[oldest]
        return self._programs[digest]

    def digests(self) -> list[str]:
        """Digests of the programs in memory, the most recently used last."""
        return list(self._programs)


def resident_bytes() -> int:
    """The resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)
