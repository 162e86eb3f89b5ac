"""Models held warm: loading one costs a second, a job that finds it ready costs milliseconds."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from unitrank_engine.archive import ArchiveError, load
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program


def warm_up() -> None:
    """Has torch import what it imports at its first export and load, two seconds that the first job would wait for."""
    dynamic = {0: torch.export.Dim("batch", min=1)}
    Program.from_exported(torch.export.export(nn.Linear(1, 1).eval(), (torch.zeros(2, 1),), dynamic_shapes=(dynamic,)))


class WarmModels:
    """The most recently used programs, by the digest of their cleaned archive, up to a number of bytes.

    The one in use always stays, however large it is.
    """

    def __init__(self, limit: int, load_program: Callable[[Path], Program]) -> None:
        """`limit`: bytes of all programs; `load_program` builds one from its cleaned archive."""
        self._limit = limit
        self._load = load_program
        self._programs: OrderedDict[str, Program] = OrderedDict()

    @classmethod
    def on(cls, device: str, limit: int) -> "WarmModels":
        """Programs on a device, built from cleaned archives."""

        def load_program(archive: Path) -> Program:
            try:
                return Program.from_exported(load(archive), device)
            except ArchiveError as error:
                raise EngineError(error.code, error.detail) from error

        return cls(limit, load_program)

    def get(self, digest: str, archive: Path | None) -> Program:
        """The program, loaded from its archive if it is not warm; the least recently used ones make room.

        Raises EngineError where it is not warm and there is no archive.
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
        """What is warm, the most recently used last."""
        return list(self._programs)
