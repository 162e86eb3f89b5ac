"""Processes that end with the one that started them: `python -m unitrank_store.redis.die_with_parent SIGNAL COMMAND...`.

Linux sends the signal when the *thread* that started the process ends (prctl(2), PR_SET_PDEATHSIG), so start tethered
processes from a thread that lives as long as they should. Elsewhere nothing happens, and the command runs untethered.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Ask for the signal at the parent's end; it is sent at once if `parent` (a process id) is already gone."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def dying_with_parent(command: list[str], number: signal.Signals = signal.SIGTERM) -> list[str]:
    """The command line that runs `command` so that it gets the signal when the calling thread ends."""
    module = "unitrank_store.redis.die_with_parent"
    return [sys.executable, "-P", "-m", module, str(int(number)), str(os.getpid()), *command]


if __name__ == "__main__":
    die_with_parent(signal.Signals(int(sys.argv[1])), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
