"""Child processes that end together with their parent.

`python -m unitrank_store.redis.die_with_parent SIGNAL PARENT COMMAND...` runs a command so that it
gets the signal when its parent ends.

Linux sends the signal when the *thread* that started the process ends (prctl(2), PR_SET_PDEATHSIG).
Start such a process from a thread that lives as long as the process should. Other systems do not
have this function: there the command runs on after its parent's end.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Ask the kernel to send this process the signal `number` when its parent ends.

    `parent`: the parent's process id. If the parent has already ended, the signal is sent at once.
    Raises OSError if the kernel refuses.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused prctl(PR_SET_PDEATHSIG)")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def dying_with_parent(command: list[str], number: signal.Signals = signal.SIGTERM) -> list[str]:
    """Return the command line of `command` that gets the signal when the calling thread ends."""
    module = "unitrank_store.redis.die_with_parent"
    return [sys.executable, "-P", "-m", module, str(int(number)), str(os.getpid()), *command]


if __name__ == "__main__":
    die_with_parent(signal.Signals(int(sys.argv[1])), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
