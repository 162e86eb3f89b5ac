"""The worker's one child: started ahead of its jobs, killed when a job has to end, started anew."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import BinaryIO

import psutil

from unitrank_schemas.base import Json
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.process.channel import Channel, Closed, Message

SEND_SECONDS = 10.0
"""A child that does not read for that long counts as lost; the worker cannot watch its job meanwhile."""
PAYLOAD_MARGIN = 64 << 20
"""Bytes that a part or a result's header may take beyond the largest result."""
PRIVATE = re.compile(
    r"(?i)^(UNITRANK|AWS|AZURE|GOOGLE|GCS|GCP|S3|FSSPEC|OTEL)_|REDIS|VALKEY"
    r"|PASSWORD|PASSWD|SECRET|CREDENTIAL|API_?KEY|ACCESS_?KEY|(^|_)TOKEN(_|$)"
)
"""Names of variables that the child does not get."""
MOST_MODELS = 10_000
"""Models that a child may say it holds."""
MOST_CHARACTERS = 256
"""The register shows names of models up to this length."""


class NotStarted(Exception):
    """The child ended before it could take a job."""


class ChildHandle:
    """The child process and the channel to it.

    Start it from the main thread: the child gets SIGKILL when the thread that started it ends.
    """

    def __init__(self, settings: ChildSettings, engine: str, device: str, *, secrets: Collection[str] = ()) -> None:
        """`engine`: `module:name` of the engine; `secrets`: strings that no variable of the child's environment may hold."""
        self._settings = settings
        self._engine = engine
        self._device = device
        self._secrets = secrets
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self.ready = False
        self.warm: dict[str, str] = {}
        """The models that the child holds: their names by the digests of their cleaned archives."""

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
                env=environment(self._device, os.environ, self._secrets),
                start_new_session=True,
            )
        largest = self._settings.max_result_bytes + PAYLOAD_MARGIN
        self._channel = Channel(ours, payload_bytes=largest, send_seconds=SEND_SECONDS)
        self._channel.send({"settings": self._settings.to_json(), "device": device_inside(self._device)})

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

    def send(self, content: Json, payload: bytes = b"", files: Sequence[BinaryIO] = ()) -> None:
        """Send a message with open files, which are closed here afterwards. Raises Closed."""
        try:
            if self._channel is None:
                raise Closed("there is no child")
            self._channel.send(content, payload, [file.fileno() for file in files])
        finally:
            for file in files:
                file.close()

    def receive(self, seconds: float) -> Message | None:
        """The child's next message, None if none came within `seconds`. Raises Closed."""
        if self._channel is None:
            raise Closed("there is no child")
        message = self._channel.receive(seconds)
        if message is not None and "warm" in message.content:
            self.warm = _warm_models(message.content["warm"])
            self.ready = True
        return message

    @property
    def models(self) -> list[str]:
        """The names of the models that the child holds."""
        return list(self.warm.values())

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
        self.warm = {}
        return -code if code < 0 else code << 8

    def memory(self) -> int:
        """Bytes that it holds."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid else 0
        except psutil.Error:
            return 0


def environment(device: str, variables: Mapping[str, str], secrets: Collection[str] = ()) -> dict[str, str]:
    """The child's variables: no settings of ours, no credentials, no secrets; it sees its own GPU only, as the first one."""
    kept = {
        name: value
        for name, value in variables.items()
        if not PRIVATE.search(name) and not any(secret in value for secret in secrets if secret)
    }
    kept["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    kind, _, index = device.partition(":")
    if kind == "cuda":
        visible = [name for name in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        kept["CUDA_VISIBLE_DEVICES"] = visible[int(index or 0)] if visible else index or "0"
    return kept


def device_inside(device: str) -> str:
    """What the child calls the device."""
    return "cuda:0" if device.startswith("cuda") else device


def _warm_models(models: object) -> dict[str, str]:
    """Names by digests. Raises Closed for a list that no child of ours sends."""
    try:
        names = {str(model["digest"])[:MOST_CHARACTERS]: str(model["name"])[:MOST_CHARACTERS] for model in _listed(models)}
    except (LookupError, TypeError) as error:
        raise Closed("the child sent a malformed list of models") from error
    return names


def _listed(models: object) -> list[Json]:
    if not isinstance(models, list) or len(models) > MOST_MODELS:
        raise TypeError(f"not a list of at most {MOST_MODELS} models")
    return models


def _command(engine: str) -> list[str]:
    return [sys.executable, "-P", "-m", "unitrank_worker.process.child", "--engine", engine]
