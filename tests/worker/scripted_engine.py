"""Engines that follow a script in the job's metadata."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.engine import Arrays, Assignment, Report, Upload, WarmModel


class Scripted:
    """Performs `metadata["do"]`, a list of [verb, argument]."""

    def __init__(self, settings: ChildSettings, device: str) -> None:
        self.runs = 0

    def open(self) -> None:
        """Do nothing: there is no device."""

    def device_memory(self) -> int:
        return 0

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        self.runs += 1
        script = assignment.request.metadata.get("do", [])
        assert isinstance(script, list)
        for step in script:
            assert isinstance(step, list)
            VERBS[str(step[0])](step[1], report)
        return {"pid": os.getpid(), "runs": self.runs}, {"x": np.arange(3, dtype=np.float32)}

    def inspect(self, upload: Upload, target: Path) -> Json:
        if upload.source.read_bytes().startswith(b"good"):
            target.write_bytes(b"clean")
            return {"layers": [], "pid": os.getpid()}
        raise EngineError("bad_archive", "the archive does not begin with good")

    def warm(self) -> list[WarmModel]:
        return [WarmModel("sha256:" + "0" * 64, "mnist")] if self.runs else []


class Broken:
    """Fails when it is created."""

    def __init__(self, settings: ChildSettings, device: str) -> None:
        raise RuntimeError("no such device")


class Cold(Scripted):
    """Starts only when the file `warm` is in the blob store's folder of drafts."""

    def __init__(self, settings: ChildSettings, device: str) -> None:
        super().__init__(settings, device)
        _await(Path(settings.scratch).parents[1] / "warm", lambda progress: None)


class KilledByInspection(Scripted):
    """Is killed by every inspection, as by a hostile archive."""

    def inspect(self, upload: Upload, target: Path) -> Json:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Hostile(Scripted):
    """An archive that begins with `crash` ends the process, and `spin` never ends."""

    def inspect(self, upload: Upload, target: Path) -> Json:
        start = upload.source.read_bytes()[:5]
        if start == b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while start == b"spin":
            pass
        return super().inspect(upload, target)


class Handed(dict[str, Any]):
    """Arrays that write the file `writing` when they are encoded, and wait for the file `go`."""

    def __init__(self, folder: Path, arrays: Arrays) -> None:
        super().__init__(arrays)
        self._folder = folder

    def items(self) -> Any:
        (self._folder / "writing").touch()
        _await(self._folder / "go", lambda progress: None)
        return super().items()


class Slow(Scripted):
    """Encodes its arrays only when the file `go` is in the folder `metadata["folder"]`."""

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        summary, arrays = super().run(assignment, report)
        folder = assignment.request.metadata.get("folder")
        return summary, Handed(Path(str(folder)), arrays) if folder else arrays


def _mark(path: object, report: Report) -> None:
    with Path(str(path)).open("a") as file:
        file.write(f"{os.getpid()}\n")


def _report(seconds: object, report: Report) -> None:
    until = time.monotonic() + float(str(seconds))
    while time.monotonic() < until:
        report({"done": 1, "total": 2, "unit": "examples", "stage": "attribution", "eta": None})
        time.sleep(0.02)


def _die(path: object, report: Report) -> None:
    """Kill this process, in the first run only."""
    if len(Path(str(path)).read_text().splitlines()) < 2:
        os.kill(os.getpid(), signal.SIGKILL)


def _await(path: object, report: Report) -> None:
    while not Path(str(path)).exists():
        time.sleep(0.01)


def _raise(kind: object, report: Report) -> None:
    raise ERRORS[str(kind)]()


ERRORS: dict[str, Callable[[], Exception]] = {
    "engine": lambda: EngineError("non_finite", "the output was nan"),
    "memory": MemoryError,
    "bug": lambda: KeyError("a secret"),
    "cuda": lambda: RuntimeError("CUDA error: device-side assert triggered"),
}


HELD: list[object] = []
"""The values that `hold` and `remember` keep until the process ends."""


def _hold(bytes: object, report: Report) -> None:
    HELD.append(np.ones(int(str(bytes)), np.uint8))


def _send(line: object, report: Report) -> None:
    """Write a line to the channel, as a model could that has taken over the process."""
    channel = int(sys.argv[sys.argv.index("--fd") + 1])
    os.write(channel, str(line).encode())
    time.sleep(60)


def _take(bytes: object, report: Report) -> None:
    np.ones(int(str(bytes)), np.uint8)


VERBS: dict[str, Callable[[object, Report], None]] = {
    "mark": _mark,
    "report": _report,
    "die_once": _die,
    "await": _await,
    "raise": _raise,
    "take": _take,
    "hold": _hold,
    "remember": lambda text, report: HELD.append(f"{text} remembered"),
    "send": _send,
    "sleep": lambda seconds, report: time.sleep(float(str(seconds))),
    "kill": lambda number, report: os.kill(os.getpid(), int(str(number))),
    # This holds the interpreter's lock: no Python code runs, and no signal handler.
    "hang": lambda seconds, report: ctypes.PyDLL(None).sleep(int(str(seconds))),
}
