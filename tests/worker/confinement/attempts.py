"""An engine that tries what a model could try that has taken over its child."""

import ctypes
import os
import queue
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np

from unitrank_schemas.base import Json
from unitrank_tables.files import open_file
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.engine import Arrays, Assignment, Report, Upload, WarmModel

PTRACE_ATTACH = 16
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def call(name: str, *arguments: int) -> None:
    """Make the system call. Raises OSError."""
    import pyseccomp

    libc = ctypes.CDLL(None, use_errno=True)
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    ctypes.set_errno(0)
    if libc.syscall(number, *(ctypes.c_long(argument) for argument in arguments)) == -1:
        raise OSError(ctypes.get_errno(), name)


def send_to_socket(path: str) -> None:
    first, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    first.sendto(b"PING", path)


def send_over_channel(path: str) -> None:
    descriptor = int(sys.argv[sys.argv.index("--fd") + 1])
    socket.socket(fileno=os.dup(descriptor)).sendto(b"", path)


def open_and_close(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def attempts(target: Json) -> dict[str, Callable[[], object]]:
    """The attempts by name. Each must raise OSError.

    `target`: `blob`, `state` and `socket`, paths that are not the child's; `parent`: process id;
    `sent`: descriptor of a file of the job; `scratch`: the child's folder.
    """
    blob, state, parent = target["blob"], target["state"], target["parent"]
    return {
        "internet socket": lambda: socket.socket(socket.AF_INET),
        "unix socket": lambda: socket.socket(socket.AF_UNIX).connect(target["socket"]),
        "message to the store's socket": lambda: send_to_socket(target["socket"]),
        "message to an address over the channel": lambda: send_over_channel(target["socket"]),
        "netlink socket": lambda: socket.socket(socket.AF_NETLINK),
        "subprocess": lambda: subprocess.run(["true"], check=False),
        "fork": os.fork,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "clone of a process": lambda: call("clone", 17, 0, 0, 0, 0),
        "clone3": lambda: call("clone3", 0, 0),
        "namespace": lambda: call("unshare", CLONE_NEWUSER),
        "ptrace": lambda: call("ptrace", PTRACE_ATTACH, parent, 0, 0),
        "other memory": lambda: call("process_vm_readv", parent, 0, 0, 0, 0, 0),
        "signal": lambda: os.kill(parent, 0),
        "signal to a group": lambda: os.kill(0, 0),
        "life after the parent": lambda: call("prctl", PR_SET_PDEATHSIG, 0, 0, 0, 0),
        "limits of another process": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
        "process file descriptor": lambda: os.pidfd_open(parent),
        "mount": lambda: call("mount", 0, 0, 0, 0, 0),
        "bpf": lambda: call("bpf", 0, 0, 0),
        "keyctl": lambda: call("keyctl", 0, 0, 0, 0, 0),
        "io_uring": lambda: call("io_uring_setup", 1, 0),
        "userfaultfd": lambda: call("userfaultfd", 0),
        "perf_event_open": lambda: call("perf_event_open", 0, 0, 0, 0, 0),
        "inotify": lambda: call("inotify_init1", 0),
        "shared memory": lambda: call("shmget", 1, 4096, 0o1600),
        "list of the state folder": lambda: os.listdir(state),
        "read of a blob": lambda: Path(blob).read_bytes(),
        "read of a sent file by its path": lambda: Path("/dev/fd/" + str(target["sent"])).read_bytes(),
        "write to a blob": lambda: open_and_close(blob, os.O_WRONLY),
        "truncation by opening": lambda: open_and_close(blob, os.O_RDONLY | os.O_TRUNC),
        "truncation": lambda: os.truncate(blob, 0),
        "rights of a blob": lambda: os.chmod(blob, 0o666),
        "rights of a sent file": lambda: os.fchmod(target["sent"], 0o666),
        "times of a blob": lambda: os.utime(blob),
        "deletion of a blob": lambda: os.unlink(blob),
        "rename of a blob": lambda: os.rename(blob, blob + "-renamed"),
        "link of a blob": lambda: os.link(blob, target["scratch"] + "/link"),
        "new file in the state folder": lambda: Path(state, "new").write_text(""),
        "new folder in the state folder": lambda: Path(state, "folder").mkdir(),
        "write to the system": lambda: Path("/usr/unitrank-was-here").write_text(""),
        "write to a temporary folder": lambda: Path("/tmp/unitrank-was-here").write_text(""),
        "write to shared memory": lambda: Path("/dev/shm/unitrank-was-here").write_text(""),
        "environment of the parent": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "arguments of the parent": lambda: Path(f"/proc/{parent}/cmdline").read_bytes(),
        "memory map of the parent": lambda: Path(f"/proc/{parent}/maps").read_bytes(),
        "memory of the parent": lambda: Path(f"/proc/{parent}/mem").read_bytes(),
        "root folder of the parent": lambda: os.listdir(f"/proc/{parent}/root/"),
        "files of the parent": lambda: os.listdir(f"/proc/{parent}/fd"),
    }


def outcome(attempt: Callable[[], object]) -> int:
    """The error's number; 0 if the attempt succeeded."""
    try:
        attempt()
    except OSError as error:
        return error.errno or -1
    return 0


class OldThread:
    """A thread that starts before the system calls are limited, and runs functions later."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], int], Future[int]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            function, future = self._calls.get()
            future.set_result(function())

    def result(self, function: Callable[[], int]) -> int:
        future: Future[int] = Future()
        self._calls.put((function, future))
        return future.result(30)


class Attempting:
    """Makes each attempt in the main thread, in a new one and in an old one.

    The summary has the numbers of the errors, and what must work.
    """

    def __init__(self, settings: ChildSettings, device: str) -> None:
        self._scratch = settings.scratch
        self._old = OldThread()

    def open(self) -> None:
        """Do nothing: there is no device."""

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        target = {**assignment.request.metadata, "scratch": self._scratch, "sent": int(assignment.table.name)}
        tries = attempts(target)
        refused = {
            name: [outcome(each), _in_new_thread(each), self._old.result(partial(outcome, each))] for name, each in tries.items()
        }
        return {"refused": refused, "works": self._works(assignment)}, {"x": np.arange(3)}

    def _works(self, assignment: Assignment) -> Json:
        Path(self._scratch, "file").write_text("text")
        with tempfile.TemporaryFile() as file:
            file.write(b"1")
        with open_file(assignment.table) as table:
            sent = table.read().decode()
        os.kill(os.getpid(), 0)
        return {
            "sent": sent,
            "scratch": Path(self._scratch, "file").read_text(),
            "temporary": tempfile.gettempdir(),
            "thread": _in_new_thread(lambda: None),
            "product": float((np.ones((300, 300)) @ np.ones((300, 300))).sum()),
            "processors": Path("/proc/cpuinfo").stat().st_mode > 0,
            "own process": Path("/proc/self/status").read_text().startswith("Name:"),
            "home": os.path.expanduser("~"),
        }

    def inspect(self, upload: Upload, target: Path) -> Json:
        raise NotImplementedError

    def device_memory(self) -> int:
        return 0

    def warm(self) -> list[WarmModel]:
        return []


def _in_new_thread(attempt: Callable[[], object]) -> int:
    outcomes: list[int] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome(attempt)))
    thread.start()
    thread.join()
    return outcomes[0]
