"""Models held warm: loading one costs a second, a job that finds it ready costs milliseconds."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from unitrank_engine.archive import ArchiveError, load
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program
from unitrank_store.blobs.blob_store import BlobStore


def warm_up() -> None:
    """Has torch import what it imports at its first export and load, two seconds that the first job would wait for."""
    dynamic = {0: torch.export.Dim("batch", min=1)}
    Program.from_exported(torch.export.export(nn.Linear(1, 1).eval(), (torch.zeros(2, 1),), dynamic_shapes=(dynamic,)))


class WarmModels:
    """The most recently used programs, by the digest of their cleaned archive, up to a number of bytes.

    The one in use always stays, however large it is.
    """

    def __init__(self, limit: int, read: Callable[[str], Program]) -> None:
        self._limit = limit
        self._read = read
        self._programs: OrderedDict[str, Program] = OrderedDict()

    @classmethod
    def of(cls, blobs: BlobStore, limit: int, device: str) -> "WarmModels":
        """Reads cleaned archives from the blob store."""

        def read(digest: str) -> Program:
            try:
                return Program.from_exported(load(blobs.path(digest)), device)
            except ArchiveError as error:
                raise EngineError(error.code, error.detail) from error

        return cls(limit, read)

    def get(self, digest: str) -> Program:
        """The program, loaded if it is not warm; the least recently used ones make room."""
        if digest not in self._programs:
            self._programs[digest] = self._read(digest)
        self._programs.move_to_end(digest)
        while len(self._programs) > 1 and sum(program.bytes for program in self._programs.values()) > self._limit:
            self._programs.popitem(last=False)
        return self._programs[digest]

    def digests(self) -> list[str]:
        """What is warm, the most recently used last."""
        return list(self._programs)
