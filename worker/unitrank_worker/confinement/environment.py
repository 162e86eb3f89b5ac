"""Environment variables that keep the child's libraries inside its limits."""

import os
from pathlib import Path

FOLDERS = (
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
"""Variables with the folder of a library's cache, of temporary files, or of the user's files."""


def set_environment(scratch: Path) -> None:
    """Make libraries that are imported later write in the scratch folder and start no process.

    The user's home may be missing or read-only, and other children use the same home.
    """
    os.environ.update(dict.fromkeys(FOLDERS, str(scratch)))
    # Otherwise joblib, which scikit-learn imports, warns that it cannot share memory.
    os.environ["JOBLIB_MULTIPROCESSING"] = "0"
