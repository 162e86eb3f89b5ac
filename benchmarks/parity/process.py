"""Makes the record of an architecture in a process with limits of time and memory."""

import json
import logging
import multiprocessing
import traceback
import warnings
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory

import torch
from tests.engine.architectures.catalogue import CATALOGUE

from benchmarks.parity.comparison import Record, record_of
from unitrank_tables.sizes import GiB
from unitrank_worker.process.memory import limit_memory

MEMORY = 4 * GiB


def in_process(name: str, path: Path, limit: float) -> Record:
    """Make the record in a new process, which ends after `limit` seconds."""
    context = multiprocessing.get_context("forkserver")
    # Importing torch takes seconds, so processes are forked from one that has imported it.
    context.set_forkserver_preload([__name__, "transformers"])
    process = context.Process(target=_make, args=(name, path), daemon=True)
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
    if path.exists():
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        return record
    ended = f"it took more than {limit:.0f} s" if process.exitcode == -SIGKILL else f"it ended with status {process.exitcode}"
    return _failed(name, ended)


def _failed(name: str, reason: str) -> Record:
    entry = CATALOGUE[name]
    return {"name": name, "family": entry.family, "source": entry.source, "outcome": "failed", "reason": reason}


def _make(name: str, path: Path) -> None:
    torch.set_num_threads(1)
    limit_memory(MEMORY)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with TemporaryDirectory(prefix="unitrank-parity-") as folder:
        try:
            record = record_of(name, Path(folder))
        except Exception as error:
            # The table lists a fault of the comparison, and the other architectures are tried.
            traceback.print_exc()
            record = _failed(name, f"{type(error).__name__}: {str(error).splitlines()[:1]}")
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record), encoding="utf-8")
    part.replace(path)
