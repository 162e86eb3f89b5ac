"""Recognises files that users upload by mistake.

The refusal of such a file names its kind and the next step. A zip is recognised by the names of its
entries, any other file by its first bytes.
"""

import re
from collections.abc import Sequence

from unitrank_engine.archive.errors import ArchiveError

EXPORT = "export the network with unitrank.export or torch.export.save, and upload that archive"

START_BYTES = 9
"""Bytes at the start of a file that `error_by_start` reads."""

_PICKLE = "a pickle, which can run code when it is read"
_BY_START = {
    rb"\Z": "the file is empty: upload the complete file again",
    rb"\x80[\x02-\x05]": f"the file is {_PICKLE}: {EXPORT}",
    rb"\x93NUMPY": f"the file is a numpy array (.npy), which is data and not a model: {EXPORT}",
    rb"\x08.\x12": f"the file looks like an ONNX model, which cannot be read: {EXPORT}",
    rb".{5}\0\0\0\{": "the file is a safetensors file, which holds weights and no program: "
    f"name the installed architecture that they belong to (architecture=NAME), or {EXPORT}",
    rb"PK\x03\x04": "the file begins as a zip, and its table of contents is missing or broken: upload the complete file again",
}
"""Pattern of the first bytes → the refusal."""


def error_by_start(start: bytes) -> ArchiveError | None:
    """The refusal of a file that is not a zip, or None for a file of unknown kind.

    `start`: the first `START_BYTES` bytes of the file.
    """
    pattern = next((each for each in _BY_START if re.match(each, start, re.DOTALL)), None)
    return ArchiveError("not_an_archive", _BY_START[pattern]) if pattern else None


def refuse_by_entries(names: Sequence[str]) -> None:
    """Raises ArchiveError for the entries that torch.jit.save, torch.save or numpy.savez write."""
    if any(re.fullmatch(r"[^/]+/(code/.*|constants\.pkl)", name) for name in names):
        raise ArchiveError("not_an_archive", f"the file is a TorchScript archive, as torch.jit.save writes it: {EXPORT}")
    if any(re.fullmatch(r"[^/]+/data\.pkl", name) for name in names):
        raise ArchiveError("not_an_archive", f"the file was written by torch.save and holds {_PICKLE}: {EXPORT}")
    if names and all(name.endswith(".npy") for name in names):
        raise ArchiveError(
            "archive_entry_refused", f"the file is an npz of numpy arrays, which is a dataset: upload it as a dataset, or {EXPORT}"
        )
