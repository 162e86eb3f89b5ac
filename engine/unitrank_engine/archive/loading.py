"""Clean archives into torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.export import ExportedProgram

from unitrank_engine.archive.arguments import check_arguments
from unitrank_engine.archive.errors import ArchiveError, shown

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def load(path: Path) -> ExportedProgram:
    """The program of an archive that `clean` wrote; never hand it anything else. Raises ArchiveError."""
    with path.open("rb") as file, _weights_only():
        try:
            exported = torch.export.load(file)
        except MemoryError:
            raise
        except Exception as error:
            raise ArchiveError(
                "not_loadable", f"torch {torch.__version__} cannot build the program: {shown(str(error))}"
            ) from error
    check_arguments(exported.graph)
    return exported


@contextmanager
def _weights_only() -> Iterator[None]:
    # The second lock: even if a pickle had slipped through, torch would not run it.
    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before
