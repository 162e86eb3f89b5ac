"""Loads clean archives into torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import torch
from torch.export import ExportedProgram

from unitrank_engine.archive.arguments import check_arguments
from unitrank_engine.archive.errors import ArchiveError, escaped
from unitrank_engine.errors import is_out_of_memory
from unitrank_tables.files import open_file

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def load(path: Path) -> ExportedProgram:
    """The exported program of the archive at `path`, which `clean` must have written.

    Never pass an upload: `torch.export.load` can run code that the file holds.

    Raises ArchiveError: `not_loadable` when torch cannot build the program, `program_refused` when
    an argument of a node has a wrong type or size.
    """
    with BufferedReader(open_file(path)) as file, _weights_only():
        try:
            exported = torch.export.load(file)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = escaped(str(error))
            raise ArchiveError(
                "not_loadable",
                f"torch {torch.__version__} cannot build the program: {reason}; export the network again with unitrank.export",
            ) from error
    check_arguments(exported.graph)
    return exported


@contextmanager
def _weights_only() -> Iterator[None]:
    # A second lock: if a pickle passed the vetting by mistake, torch would still not run it.
    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before
