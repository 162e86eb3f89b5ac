"""The worker's one child: started ahead of its jobs, killed when a job has to end, started anew."""

import os
import socket
import subprocess
import sys
import time

import psutil

from unitrank_schemas.base import Json
from unitrank_worker.process.channel import Channel, Closed


class NotStarted(Exception):
    """The child ended before it could take a job."""


class ChildHandle:
    """Start it from the main thread: the child gets SIGKILL when the thread that started it ends."""

    def __init__(self, hello: Json, engine: str, device: str) -> None:
        self._hello = hello
        self._engine = engine
        self._device = device
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self.ready = False
        self.models: list[str] = []

    @property
    def pid(self) -> int:
        """0 where there is none."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start it if it is not there; does not wait until it is ready."""
        if self._process is not None and self._process.poll() is None:
            return
        self.end()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*_command(self._engine), "--fd", str(theirs.fileno()), "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment(self._device),
                start_new_session=True,
            )
        self._channel = Channel(ours)
        self._channel.send(self._hello)

    def await_ready(self, seconds: float) -> None:
        """Raises NotStarted."""
        deadline = time.monotonic() + seconds
        try:
            while not self.ready:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NotStarted(f"the child was not ready within {seconds:.0f} s")
                self.receive(left)
        except Closed as error:
            raise NotStarted("the child ended while it started") from error

    def send(self, message: Json) -> None:
        """Raises Closed."""
        if self._channel is None:
            raise Closed("there is no child")
        self._channel.send(message)

    def receive(self, seconds: float) -> Json | None:
        """The child's next message, None where it says nothing for so long. Raises Closed."""
        if self._channel is None:
            raise Closed("there is no child")
        message = self._channel.receive(seconds)
        if message is not None:
            self.ready = True
            self.models = [str(model) for model in message.get("models", [])]
        return message

    def end(self) -> int:
        """Kill it and wait for its end: the status as of waitpid(2), 0 where there was none."""
        code = 0
        if self._process is not None:
            self._process.kill()
            code = self._process.wait()
        if self._channel is not None:
            self._channel.close()
        self._process = self._channel = None
        self.ready = False
        self.models = []
        return -code if code < 0 else code << 8

    def memory(self) -> int:
        """Bytes that it holds."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid else 0
        except psutil.Error:
            return 0


def environment(device: str) -> dict[str, str]:
    """The child's: it sees its own GPU only, as the first one."""
    variables = {**os.environ, "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    kind, _, index = device.partition(":")
    if kind == "cuda":
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        variables["CUDA_VISIBLE_DEVICES"] = visible[int(index or 0)] if visible else index or "0"
    return variables


def device_inside(device: str) -> str:
    """What the child calls the device."""
    return "cuda:0" if device.startswith("cuda") else device


def _command(engine: str) -> list[str]:
    return [sys.executable, "-P", "-m", "unitrank_worker.process.child", "--engine", engine]
