"""Models that stay in memory between jobs: loading a model takes about a second."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from unitrank_engine.archive import ArchiveError, load
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program


def warm_up() -> None:
    """Export and load a tiny model: torch then imports its modules (2 s) before the first job."""
    dynamic = {0: torch.export.Dim("batch", min=1)}
    Program.from_exported(torch.export.export(nn.Linear(1, 1).eval(), (torch.zeros(2, 1),), dynamic_shapes=(dynamic,)))


class WarmModels:
    """The most recently used programs, by the digest of their cleaned archive.

    The program in use always stays, also if it is larger than the limit.
    """

    def __init__(self, limit: int, load_program: Callable[[Path], Program]) -> None:
        """`limit`: bytes of all programs.

        `load_program`: builds a program from a cleaned archive.
        """
        self._limit = limit
        self._load = load_program
        self._programs: OrderedDict[str, Program] = OrderedDict()

    @classmethod
    def on(cls, device: str, limit: int) -> "WarmModels":
        """A store of programs on the device. `limit`: bytes of all programs."""

        def load_program(archive: Path) -> Program:
            try:
                return Program.from_exported(load(archive), device)
            except ArchiveError as error:
                raise EngineError(error.code, error.detail) from error

        return cls(limit, load_program)

    def get(self, digest: str, archive: Path | None) -> Program:
        """The program, loaded from its archive if it is not in memory.

        Loading removes the least recently used programs if the limit is exceeded.
        Raises EngineError if the program is not in memory and `archive` is None.
        """
        if digest not in self._programs:
            if archive is None:
                raise EngineError("model_not_ready", f"model {digest} is not loaded, and its archive was not given")
            self._programs[digest] = self._load(archive)
        self._programs.move_to_end(digest)
        while len(self._programs) > 1 and sum(program.bytes for program in self._programs.values()) > self._limit:
            self._programs.popitem(last=False)
        return self._programs[digest]

    def digests(self) -> list[str]:
        """Digests of the programs in memory, the most recently used last."""
        return list(self._programs)
