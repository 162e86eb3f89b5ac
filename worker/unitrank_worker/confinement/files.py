"""Limits the files that this process opens, with Landlock (Linux 5.13 and newer).

The process may read Python, its packages, the system's libraries and facts about the machine. It
may write only in its scratch folder. Files that its parent sends are open already.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from unitrank_worker.confinement.errors import NotConfined

READABLE = {
    "/": "usr lib lib64 bin sys nix/store gnu/store",
    "/etc": "group ld.so.cache ld.so.conf ld.so.conf.d ld.so.preload localtime mime.types nsswitch.conf nvidia os-release "
    "passwd ssl/certs timezone",
    "/proc": "cgroups cpuinfo devices driver filesystems interrupts loadavg meminfo modules stat sys uptime version vmstat",
    "/dev": "random urandom",
}
"""Folder → names in it. /proc has one folder for each process: only this process's own is added."""
DEVICES = ("null", "zero", "full")
GPU_DEVICES = ("nvidia*", "dxg")
MODPROBE_SECONDS = 60.0


def limit_files(scratch: Path, device: str, readable: Sequence[str] = ()) -> None:
    """Limit what this process and its later threads open.

    `device`: `cpu` or `cuda:N`. `readable`: further folders that may be read. Raises NotConfined.
    """
    on_gpu = device.startswith("cuda")
    if on_gpu:
        _create_gpu_devices()
    threads = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
    if threads > 1:
        raise NotConfined(f"Landlock was not applied, because the process has {threads} threads; it must have one")
    # A folder that this user cannot open does not exist for it; Path.exists raises an error then.
    python = [path for path in _python_paths() if os.path.exists(path) and path != Path("/")]
    restrict(scratch, [*python, *map(Path, readable)], on_gpu=on_gpu)
    _require_private(scratch, _system_paths(), "a folder of the system; choose another UNITRANK_STATE")
    _require_private(scratch, python, "a folder of Python's packages; choose another UNITRANK_STATE")
    _require_private(scratch, map(Path, readable), "a folder in UNITRANK_READABLE_FOLDERS; name only folders without the state")


def _require_private(scratch: Path, folders: Iterable[Path], cause: str) -> None:
    """Raises NotConfined if a folder that may be read has the scratch folder, and so the state."""
    for folder in folders:
        if scratch.resolve().is_relative_to(folder.resolve()):
            raise NotConfined(f"the child can read the data of all tenants, because they are inside {folder}, {cause}")


def restrict(scratch: Path, folders: Iterable[Path], *, on_gpu: bool) -> None:
    """Apply Landlock to this thread. `folders`: may be read. Raises NotConfined."""
    try:
        from landlock import FSAccess, LandlockError, Ruleset
    except ImportError as error:
        raise NotConfined(f"Landlock cannot be used: {error}") from error
    devices = (path for pattern in DEVICES + (GPU_DEVICES if on_gpu else ()) for path in Path("/dev").glob(pattern))
    # The library takes an earlier errno for an error of its own calls.
    ctypes.set_errno(0)
    try:
        rules = Ruleset()
        use = FSAccess.all() & ~FSAccess.EXECUTE
        for paths, rights in (
            ([*_system_paths(), *folders, _own_folder()], FSAccess.READ_FILE | FSAccess.READ_DIR),
            (devices, use),
            ([scratch], use & ~(FSAccess.MAKE_CHAR | FSAccess.MAKE_BLOCK | FSAccess.MAKE_SOCK)),
        ):
            for path in paths:
                # A rule for a file must not have the rights of a folder.
                with suppress(FileNotFoundError, PermissionError):
                    rules.allow(path, rules=rights if path.is_dir() else rights & FSAccess.all_file())
        rules.apply()
    except (LandlockError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise NotConfined(f"Landlock cannot be used: {reason}") from error


def _system_paths() -> Iterator[Path]:
    """The files and folders of `READABLE`. Some may be missing."""
    return (Path(folder) / name for folder, names in READABLE.items() for name in names.split())


def _python_paths() -> Iterator[Path]:
    """The folders that hold Python, its packages and further libraries."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    for name in (sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *libraries):
        if name:
            yield Path(name).resolve()
    # Some installers link packages instead of copying them.
    for folder in map(Path, sys.path):
        if folder.name in ("site-packages", "dist-packages") and folder.is_dir():
            yield from (path.resolve() for path in folder.iterdir() if path.is_symlink())


def _own_folder() -> Path:
    """This process's folder in /proc, which stays open until the process ends.

    A rule belongs to the folder's inode. The kernel forgets the inode when memory is short, unless
    a descriptor holds it.
    """
    os.open("/proc/self/", os.O_PATH)
    return Path(f"/proc/{os.getpid()}")


def _create_gpu_devices() -> None:
    """Load the driver's modules and create its devices, as CUDA's own start does.

    CUDA runs this program too, but it needs root's rights, which a confined process does not get.
    """
    with suppress(OSError, subprocess.SubprocessError):
        command = ["nvidia-modprobe", "-c", "0", "-u"]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=MODPROBE_SECONDS, check=False)
