"""Runs a command as a container with a random user and a read-only root file system does.

It needs root and util-linux: the command gets mounts of its own (unshare) and another user
(setpriv). Nothing outside of the command changes.
"""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

USER = 12345
"""A user id without an entry in /etc/passwd. The group is 0, as on OpenShift."""
STATE = "/mnt"
"""The path of the state folder for the command."""

MOUNTS = f"""\
set -e
mount --make-rprivate /
if [ -n "$3" ]; then
  # The interpreter is inside a folder that only root can enter.
  mount --bind "$2" {STATE}
  mount -t tmpfs -o mode=755 none "$3"
  mkdir -p "$2"
  mount --move {STATE} "$2"
fi
mount --bind "$1" {STATE}
for folder in / /tmp /var/tmp /dev/shm; do
  if mountpoint -q "$folder"; then mount -o remount,bind,ro "$folder"; fi
done
shift 3
exec setpriv --reuid {USER} --regid 0 --clear-groups "$@"
"""

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")),
    reason="it needs root on Linux, to change the user and to mount",
)


def restricted(command: list[str], state: Path) -> list[str]:
    """The command line that runs `command` with one writable folder: the state, at `STATE`."""
    interpreter = Path(sys.base_prefix)
    closed = [folder for folder in interpreter.parents if not folder.stat().st_mode & stat.S_IXOTH]
    mounts = ["unshare", "--mount", "sh", "-c", MOUNTS, "sh", str(state), str(interpreter), str(closed[-1] if closed else "")]
    return [*mounts, *command]
