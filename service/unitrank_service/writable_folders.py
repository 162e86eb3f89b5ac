"""Folders for temporary files and caches where the usual ones cannot be written.

A container may have a user without a home, and a root file system that is read-only.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

CACHES = ("MPLCONFIGDIR", "XDG_CACHE_HOME")
"""Environment variables with a folder of caches: of matplotlib, and of fontconfig."""


def use_writable_folders(state: Path) -> None:
    """Let libraries write in the state folder if the home or the temporary folder is not writable.

    Variables that are set stay as they are.
    """
    if not _has_home():
        caches = state / "caches"
        if _make(caches):
            for name in CACHES:
                os.environ.setdefault(name, str(caches))
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if _make(state / "tmp"):
            tempfile.tempdir = str(state / "tmp")


def _has_home() -> bool:
    home = os.path.expanduser("~")
    return os.path.isdir(home) and os.access(home, os.W_OK)


def _make(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.is_dir()
