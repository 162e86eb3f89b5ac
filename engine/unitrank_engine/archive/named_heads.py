"""The entry of an archive with the number of attention heads that its modules name.

An archive of `torch.export` has no attributes of modules, so `unitrank.export` writes the entry.
The numbers are suggestions: the inspection checks them against the shapes of the layers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from unitrank_engine.archive.errors import ArchiveError
from unitrank_engine.archive.reader import open_archive
from unitrank_engine.archive.vetting import EPOCH, ROOT

ENTRY = "extra/unitrank_heads"
MOST_BYTES = 1 << 20


def add_heads(clean: Path, heads: Mapping[str, int]) -> None:
    """Adds the entry to a clean archive. `heads`: path of a module → its number of heads."""
    info = ZipInfo(f"{ROOT}/{ENTRY}", EPOCH)
    info.create_system = 0
    with ZipFile(clean, "a") as archive:
        archive.writestr(info, json.dumps(heads))


def heads_in(upload: Path) -> dict[str, int]:
    """Path of a module → the number of its heads; empty without a readable entry."""
    try:
        with open_archive(upload) as archive:
            if archive.size(ENTRY) > MOST_BYTES:
                return {}
            heads = json.loads(archive.text(ENTRY))
    except (ArchiveError, ValueError, RecursionError):
        return {}
    return {path: count for path, count in heads.items() if type(count) is int} if isinstance(heads, dict) else {}
