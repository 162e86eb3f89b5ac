"""The worker's side of the driver's process, and of the job that the driver divides."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import structlog

from unitrank_schemas.base import Json
from unitrank_worker.attempts.child_messages import checked_pass
from unitrank_worker.children.handle import PAYLOAD_MARGIN, SEND_SECONDS, ChildHandle
from unitrank_worker.distributed.on_ray.connection import driver_environment
from unitrank_worker.distributed.questions import is_question
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.problem import problem
from unitrank_worker.process.channel import Channel, Closed, Message

log = structlog.get_logger()

JOINED_BYTES = 4 << 30
"""Largest joined result of a pass: the cluster of each row takes one or two bytes."""


class DriverProcess:
    """The process that is Ray's driver, which starts with the first job that is divided.

    Call `start` in the main thread: the process gets SIGKILL when the thread that started it ends.
    """

    def __init__(
        self, address: str, engine: str, device: str, *, result_bytes: int, log_format: str, secrets: Collection[str] = ()
    ) -> None:
        """`address`: of Ray, or `auto`. `engine`: `module:name`. `result_bytes`: as in Settings.

        `secrets`: strings that the environment of the driver must not contain.
        """
        self._payload_bytes = result_bytes + PAYLOAD_MARGIN
        self._command: Sequence[str] = [
            *(sys.executable, "-P", "-m", "unitrank_worker.distributed.driver"),
            *("--engine", engine, "--address", address, "--device", device),
            *("--payload-bytes", str(self._payload_bytes), "--log-format", log_format),
        ]
        self._secrets = secrets
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    @property
    def pid(self) -> int:
        """The process id of the driver; 0 without one."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start the driver unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self.end()
        here, there = socket.socketpair()
        with there, ExitStack() as unless_started:
            unless_started.callback(here.close)
            self._process = subprocess.Popen(
                [*self._command, "--fd", str(there.fileno()), "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                env=driver_environment(os.environ, self._secrets),
                start_new_session=True,
            )
            unless_started.pop_all()
        largest = max(self._payload_bytes, JOINED_BYTES)
        self._channel = Channel(here, payload_bytes=largest, send_seconds=SEND_SECONDS)

    def send(self, content: Json, payload: bytes = b"") -> None:
        """Send a message. Raises Closed if the driver has ended."""
        if self._channel is None:
            raise Closed("there is no driver")
        self._channel.send(content, payload)

    def receive(self, seconds: float) -> Message | None:
        """The next message; None if `seconds` pass without one.

        Raises Closed if the driver has ended, or sent a malformed message and is killed.
        """
        if self._channel is None:
            raise Closed("there is no driver")
        try:
            return self._channel.receive(seconds)
        except Closed:
            # The place where the next message begins is not known.
            self.end()
            raise

    def fileno(self) -> int:
        """The descriptor of the channel, for `select`. Raises Closed."""
        if self._channel is None:
            raise Closed("there is no driver")
        return self._channel.fileno()

    def end(self) -> None:
        """Kill the driver. Ray then ends its actors."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._channel is not None:
            self._channel.close()
        self._process = self._channel = None


class Decision(NamedTuple):
    """The driver's decision about a job. `problem`: why it is not divided; None if it is."""

    problem: Json | None = None


class DividedJob:
    """A job that the driver divides, between the owner's child and the driver."""

    def __init__(self, driver: DriverProcess, head: JobHead) -> None:
        """Ask the driver to divide the job. Call it in the main thread."""
        self._driver = driver
        self._key = head.key
        self._in_pass = False
        driver.start()
        driver.send({"begin": head.to_json()})

    def decision(self, seconds: float) -> Decision | None:
        """The driver's decision; None if `seconds` pass without it."""
        try:
            message = self._driver.receive(seconds)
        except Closed as error:
            self._driver.end()
            detail = f"the connection to the Ray cluster was lost before the job began ({error})"
            return Decision(problem("ray_unreachable", detail, status=503, retryable=True))
        if message is None or message.content.get("key") != self._key:
            return None
        if "begun" in message.content:
            log.info("divided", actors=message.content["begun"])
        return Decision(message.content.get("refused"))

    def receive(self, child: ChildHandle, seconds: float) -> Message | None:
        """The next message of the owner's child for its attempt; None without one.

        Meanwhile messages of the driver go to the child, and its passes to the driver.
        Raises Closed if the child or the driver has ended, or if a message of the child is
        malformed.
        """
        while (answer := self._driver.receive(0)) is not None:
            if {"shards", "joined", "failed"} & answer.content.keys():
                self._in_pass &= "shards" in answer.content
                child.send(answer.content, answer.payload)
        message = child.receive(0)
        if message is None and seconds:
            select.select([self._driver.fileno(), child.fileno()], [], [], seconds)
        if message is not None and "pass" in message.content:
            if self._in_pass:
                raise Closed("the child asked for a pass within a pass")
            self._driver.send({"ask": checked_pass(message.content)})
            self._in_pass = True
            return None
        return message

    def note(self, question: Message, answer: Message) -> None:
        """Note an answer of the parent, for the replicas."""
        if is_question(question.content):
            self._driver.send({"note": question.content, "answer": answer.content}, answer.payload)

    def end(self) -> None:
        """Stop the job on all nodes. Does not wait."""
        try:
            self._driver.send({"over": self._key})
        except Closed:
            log.warning("driver lost", job=self._key)
            self._driver.end()
