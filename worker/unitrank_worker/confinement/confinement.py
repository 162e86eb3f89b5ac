"""Confines a child: Landlock limits the files that it opens, seccomp limits its system calls.

A model that takes over its child then opens no file of another tenant, no socket and no other
program. Both limits work without root, and no process can remove them from itself.

Landlock limits a thread and the threads that it starts later. So `limit_files` comes first, while
the child has one thread: numpy, torch and CUDA start threads. `limit_calls` comes when the device
is open, and limits all threads at once.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from unitrank_worker.confinement.errors import NotConfined
from unitrank_worker.confinement.files import limit_files
from unitrank_worker.confinement.system_calls import SystemCallFilter


class Confinement:
    """The limits of this process.

    `level`: the setting `UNITRANK_CONFINEMENT`: with `off` nothing is limited, and with `require`
    the methods raise NotConfined if this machine lacks a limit.
    `lacks`: why the process is not confined, or not completely; None if both limits hold.
    """

    def __init__(self, level: str) -> None:
        self._level = level
        self._reasons = ["UNITRANK_CONFINEMENT is off"] if level == "off" else []
        self._filter: SystemCallFilter | None = None

    @property
    def lacks(self) -> str | None:
        return "; ".join(self._reasons) or None

    def limit_files(self, scratch: Path, device: str, readable: Sequence[str] = ()) -> None:
        """Limit the files as the function `limit_files` does."""
        # Building the filter runs programs, which the process cannot run later.
        self._apply(self._build_filter)
        self._apply(lambda: limit_files(scratch, device, readable))

    def limit_calls(self) -> None:
        """Limit the system calls of all threads."""
        if self._filter is not None:
            self._apply(self._filter.load)

    def _build_filter(self) -> None:
        self._filter = SystemCallFilter()

    def _apply(self, step: Callable[[], None]) -> None:
        if self._level == "off":
            return
        try:
            step()
        except NotConfined as error:
            if self._level == "require":
                raise
            self._reasons.append(str(error))
