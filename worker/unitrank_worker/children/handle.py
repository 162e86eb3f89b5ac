"""One child process of a worker, and the channel to it."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import psutil

from unitrank_schemas.base import Json
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.children.scratch import ScratchFolder
from unitrank_worker.process.channel import Channel, Closed, Message

SEND_SECONDS = 10.0
"""Seconds after which a child that does not read counts as lost.

During these seconds the worker does not watch the child's job.
"""
PAYLOAD_MARGIN = 64 << 20
"""Bytes of a payload beyond the largest result: a result's header, or a part."""
PRIVATE = re.compile(
    r"(?i)^(UNITRANK|RAY|AWS|AZURE|GOOGLE|GCS|GCP|S3|FSSPEC|OTEL)_|REDIS|VALKEY"
    r"|PASSWORD|PASSWD|SECRET|CREDENTIAL|API_?KEY|ACCESS_?KEY|(^|_)TOKEN(_|$)"
)
"""Names of environment variables that the child does not get."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Settings of glibc's malloc, in bytes. They replace its own guesses.

Without them it returns the memory of a batch to the system and gets it again for the next batch:
42 000 page faults and 0.18 s in a job of 1.3 s. With them a child keeps up to 256 MiB.
"""
MOST_MODELS = 10_000
"""Largest number of models in a message of the child."""
MOST_CHARACTERS = 256
"""Characters after which names of models are cut."""


class NotStarted(Exception):
    """Raised if the child ends before it is ready for jobs, or is not ready in time."""


class ChildHandle:
    """A child process and the channel to it.

    `start` begins to load the engine, `open` tells the child to open its device, and `ready` is
    true when the child can take orders. Call `start` in the main thread: the child gets SIGKILL
    when the thread that started it ends.
    """

    def __init__(self, settings: ChildSettings, engine: str, device: str, *, secrets: Collection[str] = ()) -> None:
        """`engine`: `module:name`. Each child gets a folder of its own in `settings.scratch`.

        `secrets`: strings that the child's environment must not contain.
        """
        self._settings = settings
        self._engine = engine
        self._device = device
        self._secrets = secrets
        self._process: subprocess.Popen[bytes] | None = None
        self._measured: psutil.Process | None = None
        self._scratch: ScratchFolder | None = None
        self._channel: Channel | None = None
        self.ready = False
        self.warm: dict[str, str] = {}
        """Digest of a cleaned archive → name of the model, for the models in the child's memory."""
        self._uploads: dict[str, str] = {}
        """Digest of a model's upload → digest of its cleaned archive."""
        self.unconfined: str | None = None
        """Why the child is not confined, as the child says; None if it is."""
        self.device_memory = 0
        """Bytes of the GPU's memory, as the child says before its first order; 0 on a CPU."""

    @property
    def pid(self) -> int:
        """The child's process id; 0 without a child."""
        process = self._process
        return process.pid if process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether the child was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the child unless it runs. Does not wait until it has loaded its engine."""
        if self.alive:
            return
        self.end()
        self._scratch = ScratchFolder(Path(self._settings.scratch))
        parent_end, child_end = socket.socketpair()
        with child_end, ExitStack() as unless_started:
            unless_started.callback(parent_end.close)
            self._process = subprocess.Popen(
                [*_command(self._engine), "--fd", str(child_end.fileno()), "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[child_end.fileno()],
                env=environment(self._device, os.environ, self._secrets),
                start_new_session=True,
            )
            unless_started.pop_all()
        self._measured = psutil.Process(self._process.pid)
        largest = self._settings.max_result_bytes + PAYLOAD_MARGIN
        self._channel = Channel(parent_end, payload_bytes=largest, send_seconds=SEND_SECONDS)
        settings = replace(self._settings, scratch=str(self._scratch.path))
        with suppress(Closed):
            self._channel.send({"settings": settings.to_json(), "device": device_inside(self._device)})

    def open(self) -> None:
        """Tell the child to open its device, and to take orders. Does not wait until it is ready.

        If the child has ended, `receive` raises Closed later.
        """
        with suppress(Closed):
            self.send({"open": True})

    def await_ready(self, seconds: float) -> None:
        """Wait at most `seconds` until the child can take jobs. Raises NotStarted."""
        deadline = time.monotonic() + seconds
        try:
            while not self.ready:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NotStarted(f"the child was not ready within {seconds:.0f} s")
                self.receive(left)
        except Closed as error:
            raise NotStarted("the child ended while it started") from error

    def send(self, content: Json, payload: bytes = b"", files: Sequence[BinaryIO] = ()) -> None:
        """Send a message with open files, and close the files. Raises Closed."""
        try:
            if self._channel is None:
                raise Closed("there is no child")
            self._channel.send(content, payload, [file.fileno() for file in files])
        finally:
            for file in files:
                file.close()

    def receive(self, seconds: float) -> Message | None:
        """The child's next message; None if `seconds` pass without one. Raises Closed."""
        if self._channel is None:
            raise Closed("there is no child")
        message = self._channel.receive(seconds)
        if message is not None and "warm" in message.content:
            self.warm = _warm_models(message.content["warm"])
            if not self.ready:
                reason = message.content.get("unconfined")
                self.unconfined = str(reason)[:MOST_CHARACTERS] if reason else None
                self.device_memory = int(message.content.get("device_memory", 0))
            self.ready = True
        return message

    def fileno(self) -> int:
        """The descriptor of the channel, for `select`. Raises Closed."""
        if self._channel is None:
            raise Closed("there is no child")
        return self._channel.fileno()

    @property
    def models(self) -> list[str]:
        """Names of the models in the child's memory."""
        return list(self.warm.values())

    def note_model(self, upload: str, clean: str) -> None:
        """Note that the child loads the cleaned archive `clean` for jobs on the model `upload`."""
        self._uploads = {each: archive for each, archive in self._uploads.items() if archive in self.warm} | {upload: clean}

    def has_warm(self, upload: str) -> bool:
        """Whether the uploaded model is in the child's memory. `upload`: digest of the upload."""
        return self.alive and self._uploads.get(upload) in self.warm

    def end(self) -> int:
        """Kill the child and return its status as waitpid(2) does; 0 without a child."""
        code = 0
        if self._process is not None:
            self._process.kill()
            code = self._process.wait()
        if self._channel is not None:
            self._channel.close()
        if self._scratch is not None:
            self._scratch.remove()
        self._process = self._measured = self._channel = self._scratch = None
        self.ready = False
        self.warm, self._uploads = {}, {}
        return -code if code < 0 else code << 8

    def cpu_seconds(self) -> float:
        """Seconds of CPU time that the child's threads have used so far; 0 without a child."""
        try:
            times = self._measured.cpu_times() if self._measured is not None else None
        except psutil.Error:
            return 0.0
        return float(times.user + times.system) if times else 0.0

    def memory(self) -> int:
        """Resident memory of the child, in bytes; 0 without a child."""
        try:
            return int(self._measured.memory_info().rss) if self._measured is not None else 0
        except psutil.Error:
            return 0


def environment(device: str, variables: Mapping[str, str], secrets: Collection[str] = ()) -> dict[str, str]:
    """The child's environment variables: without Unitrank's settings, credentials and `secrets`.

    The child sees only its own GPU, under the name `cuda:0`.
    """
    allowed = {
        name: value
        for name, value in variables.items()
        if not PRIVATE.search(name) and not any(secret in value for secret in secrets if secret)
    }
    allowed |= {name: value for name, value in ALLOCATOR.items() if name not in variables}
    allowed["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    # A set of strings has the same order in all children: replicas ask the owner's questions.
    allowed["PYTHONHASHSEED"] = "0"
    kind, _, index = device.partition(":")
    if kind == "cuda":
        visible = [name for name in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        allowed["CUDA_VISIBLE_DEVICES"] = visible[int(index or 0)] if visible else index or "0"
    return allowed


def device_inside(device: str) -> str:
    """The name of the device inside the child."""
    return "cuda:0" if device.startswith("cuda") else device


def _warm_models(models: object) -> dict[str, str]:
    """Digest → name. Raises Closed for a malformed list."""
    try:
        names = {str(model["digest"])[:MOST_CHARACTERS]: str(model["name"])[:MOST_CHARACTERS] for model in _listed(models)}
    except (LookupError, TypeError) as error:
        raise Closed("the child sent a malformed list of models") from error
    return names


def _listed(models: object) -> list[Json]:
    if not isinstance(models, list) or len(models) > MOST_MODELS:
        raise TypeError(f"the models must be a list of at most {MOST_MODELS}")
    return models


def _command(engine: str) -> list[str]:
    return [sys.executable, "-P", "-m", "unitrank_worker.process.child", "--engine", engine]
