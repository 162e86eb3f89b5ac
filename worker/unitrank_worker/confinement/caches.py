"""Moves the caches of the child's libraries into its scratch folder."""

import os
from pathlib import Path

CACHES = (
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "CUDA_CACHE_PATH",
    "MPLCONFIGDIR",
    "NUMBA_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
)
"""Environment variables with the folder of a library's cache, or of the user's files."""


def keep_caches_in(scratch: Path) -> None:
    """Make libraries that are imported later use the folder instead of the user's home.

    The home may be missing, or on a file system that is read-only, and other children use it too.
    """
    os.environ.update(dict.fromkeys(CACHES, str(scratch)))
