"""A folder of temporary files for each child: the files may hold rows of a tenant's dataset."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class ScratchFolder:
    """A new, empty folder in `root`, until `remove`.

    This process holds a lock on the folder. The kernel releases the lock when the process ends, and
    `sweep` then deletes the folder.
    """

    def __init__(self, root: Path) -> None:
        with _alone(root):
            self.path = Path(tempfile.mkdtemp(dir=root))
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete the folder with its files."""
        _delete(self.path)
        os.close(self._lock)


def sweep(root: Path) -> None:
    """Delete the folders of processes that have ended."""
    with _alone(root):
        for folder in root.iterdir():
            if _is_unused(folder):
                _delete(folder)


def _delete(folder: Path) -> None:
    """Delete the folder. A child may have made folders in it that not even its user can list."""
    for path, names, _ in os.walk(folder):
        for inner in (Path(path, name) for name in names):
            with suppress(OSError):
                if not inner.is_symlink():
                    inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the lock of `root`: no other process makes or sweeps folders meanwhile."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_unused(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
