"""The entry by which an archive says that its gradients were compared with those of its module.

`unitrank.export` writes the entry; an inspection has no module, and cannot compare. The entry holds
the digest of the clean archive that was compared, so that it says nothing about other weights or
another program. The entry is not a signature:
the person who writes the file answers for it.
"""

import hashlib
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from unitrank_engine.archive.errors import ArchiveError
from unitrank_engine.archive.reader import open_archive
from unitrank_engine.archive.vetting import EPOCH, ROOT

MARK = "extra/unitrank_gradients"


def add_mark(clean: Path) -> None:
    """Adds the entry to a clean archive."""
    with clean.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    info = ZipInfo(f"{ROOT}/{MARK}", EPOCH)
    info.create_system = 0
    with ZipFile(clean, "a") as archive:
        archive.writestr(info, digest)


def has_mark(upload: Path, digest: str) -> bool:
    """Whether the upload has the entry for the clean archive with this digest."""
    try:
        with open_archive(upload) as archive:
            return archive.size(MARK) == len(digest) and archive.text(MARK) == digest.encode()
    except ArchiveError:
        return False
