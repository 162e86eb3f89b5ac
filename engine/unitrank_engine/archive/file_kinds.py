"""Recognises files that users upload by mistake.

The refusal of such a file names its kind and the next step. A zip is recognised by the names of its
entries, any other file by its first bytes.
"""

import re
from collections.abc import Callable, Sequence

from unitrank_engine.archive.errors import ArchiveError, escaped

EXPORT = "export the network with unitrank.export or torch.export.save, and upload that archive"
REBUILD = f"build the network as a torch.nn.Module with these weights, {EXPORT}"

START_BYTES = 16
"""Bytes at the start of a file that `error_by_start` reads."""

_PICKLE = "a pickle, which can run code when it is read"
_LAYERS = "torch.nn.modules."
_OF_WEIGHTS = ("collections.OrderedDict", "torch.")
"""Beginnings of the names that the pickle of a state dict holds, except those of layers."""
_BY_START = {
    rb"\Z": "the file is empty: upload the complete file again",
    rb"\x80[\x02-\x05]": f"the file is {_PICKLE}: {EXPORT}",
    rb"\x93NUMPY": f"the file is a numpy array (.npy), which is data and not a model: {EXPORT}",
    rb"\x08.\x12": f"the file looks like an ONNX model, which cannot be read: {REBUILD}",
    rb"\x89HDF\r\n\x1a\n": f"the file is HDF5, as Keras writes it, which cannot be read: {REBUILD}",
    rb"GGUF": f"the file is a GGUF file, which holds weights and no program: {REBUILD}",
    rb".{4}TFL3": f"the file is a TensorFlow Lite model, which cannot be read: {REBUILD}",
    rb".{4}ET\d\d": f"the file is an ExecuTorch program, which cannot be read: {EXPORT}",
    rb"\x1f\x8b": f"the file is compressed with gzip: unpack it first, or {EXPORT}",
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


def refuse_by_entries(names: Sequence[str], start_of: Callable[[str], bytes]) -> None:
    """Raises ArchiveError for the entries that other programs than torch.export.save write.

    `start_of`: gives the first bytes of an entry.
    """
    if any(re.fullmatch(r"[^/]+/(code/.*|constants\.pkl)", name) for name in names):
        raise ArchiveError("not_an_archive", f"the file is a TorchScript archive, as torch.jit.save writes it: {EXPORT}")
    pickles = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if pickles:
        raise ArchiveError("not_an_archive", f"the file was written by torch.save and holds {_of_pickle(start_of(pickles[0]))}")
    if {"config.json", "model.weights.h5"} <= set(names):
        raise ArchiveError("not_an_archive", f"the file is a Keras model, which cannot be read: {REBUILD}")
    if any("aotinductor" in name for name in names):
        raise ArchiveError("archive_entry_refused", f"the file holds code that AOTInductor compiled for one machine: {EXPORT}")
    if names and all(name.endswith(".npy") for name in names):
        raise ArchiveError(
            "archive_entry_refused", f"the file is an npz of numpy arrays, which is a dataset: upload it as a dataset, or {EXPORT}"
        )


def _of_pickle(start: bytes) -> str:
    """The contents of a pickle by the classes that it names, and the next step.

    The pickle is searched as text, and never read as a pickle.
    """
    classes = [b".".join(pair).decode() for pair in re.findall(rb"c([\w.]+)\n([\w.]+)\n", start)]
    own = [name for name in classes if name.startswith(_LAYERS) or not name.startswith(_OF_WEIGHTS)]
    if not own and any("_rebuild_tensor" in name for name in classes):
        return f"weights without a network, in {_PICKLE}: build the network, load them with load_state_dict, and {EXPORT}"
    named = f" It names the class {escaped(own[0])}." if own else ""
    return f"{_PICKLE}: {EXPORT}.{named}" if named else f"{_PICKLE}: {EXPORT}"
