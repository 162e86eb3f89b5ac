"""The names of entries that the zip may contain.

Each name is either kept, or dropped from the clean archive, or refused with a reason.
"""

import re

from unitrank_engine.archive.errors import ArchiveError, escaped

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
EXAMPLE_INPUTS = "data/sample_inputs/model.pt"

FIXED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
"""Entries whose content is the same in every archive."""

_KEPT = re.compile(r"data/weights/weight_[0-9]{1,6}|data/constants/tensor_[0-9]{1,6}")
_DROPPED = re.compile(r"version|\.data/(version|serialization_id)|extra/.+")
_NAMES = {PROGRAM, WEIGHTS, CONSTANTS, EXAMPLE_INPUTS, *FIXED}
# Pattern of a name → why an entry of that name is refused.
_PICKLES = {
    r"data/(weights|constants)/[^/]*\.pt": "a pickle holds the weights; "
    "save the program again with torch.export.save of torch 2.9 or later",
    r"data/constants/(custom_obj_|opaque_obj_).*": "a pickle holds a script object or an opaque object; "
    "only tensors may be constants",
}
_FOREIGN = {
    r"data/aotinductor/.*|.*\.(so|dll|dylib|pyd)": "compiled libraries are not run; "
    "save the exported program alone with torch.export.save",
    r"models/.*": "the archive must hold one program, named model, as torch.export.save writes it",
}


def split_root(name: str) -> tuple[str, str]:
    """The root folder and the rest of an entry's name.

    Raises ArchiveError for a path that is not plain and relative.
    """
    parts = name.split("/")
    safe = name.isprintable() and "\\" not in name and ":" not in name and len(name) <= 512
    if not safe or len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        raise ArchiveError(
            "archive_entry_refused",
            f"the name of entry {escaped(name)} is not accepted; expected a relative path below one root folder, "
            f"such as model/{PROGRAM}",
        )
    return parts[0], "/".join(parts[1:])


def check_name(name: str) -> None:
    """Raises ArchiveError when an exported program has no entry of this name."""
    if name in _NAMES or _KEPT.fullmatch(name) or _DROPPED.fullmatch(name):
        return
    for pattern in (each for each in _PICKLES if re.fullmatch(each, name)):
        reason = _PICKLES[pattern]
        raise ArchiveError("pickle_refused", f"entry {escaped(name)} is refused: {reason}")
    for pattern in (each for each in _FOREIGN if re.fullmatch(each, name)):
        reason = _FOREIGN[pattern]
        raise ArchiveError("archive_entry_refused", f"entry {escaped(name)} is refused: {reason}")
    raise ArchiveError(
        "archive_entry_refused",
        f"entry {escaped(name)} is unknown; expected only entries that torch.export.save writes, and files below extra/",
    )
