"""Turns an untrusted upload into a clean archive; the same program always gives the same bytes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from unitrank_engine.archive.description.counts import check_counts
from unitrank_engine.archive.description.dead_code import without_dead_code
from unitrank_engine.archive.description.payloads import check_payloads
from unitrank_engine.archive.description.program import read_payloads, read_program
from unitrank_engine.archive.entries import CONSTANTS, EXAMPLE_INPUTS, FIXED, PROGRAM, WEIGHTS
from unitrank_engine.archive.reader import ArchiveReader, open_archive

ROOT = "model"
EPOCH = (1980, 1, 1, 0, 0, 0)


def clean(source: Path, target: Path) -> str:
    """Checks the upload at `source` and writes the clean archive to `target`.

    Returns the SHA-256 of the clean archive, in hex. The clean archive holds the checked graph and
    weights. Stack traces, example inputs and extra files of the upload are dropped.

    Raises ArchiveError when the upload is refused; `target` does not exist then.
    """
    try:
        with open_archive(source) as archive:
            _write(archive, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(archive: ArchiveReader, target: Path) -> None:
    program = without_dead_code(read_program(archive.text(PROGRAM)))
    check_counts(program)
    weights = read_payloads(WEIGHTS, archive.text(WEIGHTS))
    constants = read_payloads(CONSTANTS, archive.text(CONSTANTS))
    check_payloads(weights, "weight_", lambda name: archive.size(f"data/weights/{name}"))
    check_payloads(constants, "tensor_", lambda name: archive.size(f"data/constants/{name}"))
    texts = {
        **FIXED,
        ".data/version": b"6\n",
        PROGRAM: program.model_dump_json(exclude_unset=True).encode(),
        WEIGHTS: weights.model_dump_json(exclude_unset=True).encode(),
        CONSTANTS: constants.model_dump_json(exclude_unset=True).encode(),
        # torch requires this entry, and takes an empty one for "no example inputs".
        EXAMPLE_INPUTS: b"",
    }
    stored = [f"data/weights/{name}" for name in weights.entry_names()]
    stored += [f"data/constants/{name}" for name in constants.entry_names()]
    with ZipFile(target, "w", ZIP_STORED) as file:
        for name, text in texts.items():
            _add(file, name, len(text), [text])
        for name in stored:
            _add(file, name, archive.size(name), archive.chunks(name))


def _add(file: ZipFile, name: str, size: int, chunks: Iterable[bytes]) -> None:
    info = ZipInfo(f"{ROOT}/{name}", EPOCH)
    info.create_system = 0
    info.file_size = size
    with file.open(info, "w") as entry:
        for chunk in chunks:
            entry.write(chunk)
