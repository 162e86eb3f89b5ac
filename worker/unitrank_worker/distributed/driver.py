"""The process that is Ray's driver: it gets the questions of one job after another from its worker.

    worker ──▶  {"begin": head}                       ──▶ {"begun": nodes} or {"refused": problem}
                {"ask": pass}                         ──▶ {"shards": …}, {"joined": …}, {"failed": …}
                {"note": question, "answer": content}
                {"over": key}

It is not the worker's process for three reasons. Ray ends the driver's process if the head of the
cluster is lost. Ray's processes get the environment of the driver, and must not get the address of
the store. And Ray starts threads and handles signals, which RQ does too.
"""

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from unitrank_schemas.base import Json
from unitrank_worker.distributed.division import Division, Nodes
from unitrank_worker.distributed.errors import NotDivided
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.problem import problem
from unitrank_worker.process.channel import Channel, Message

log = structlog.get_logger()

WAIT_SECONDS = 0.05
"""Maximum seconds that the driver waits for nodes before it looks for a message."""
IDLE_SECONDS = 0.5
"""Maximum seconds that the driver waits for a message while no pass runs."""
START_SECONDS = 120.0
"""Seconds after which a job is refused if no node can compute: a node must import torch first."""


class Cluster(Nodes, Protocol):
    """The nodes of a cluster, which come and go."""

    def begin(self) -> None:
        """Connect and ask for nodes. Does not wait for nodes. Raises NotDivided."""
        ...

    def refresh(self) -> None:
        """Use new nodes, and forget lost ones. Raises NotDivided."""
        ...

    def release(self) -> None:
        """No job runs: nodes may be given back after some time."""
        ...


class Driver:
    """Divides the jobs that the worker begins, one after another."""

    def __init__(self, channel: Channel, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: returns seconds."""
        self._channel = channel
        self._cluster = cluster
        self._clock = clock
        self._division: Division | None = None
        self._has_begun = False
        self._refuse_at = 0.0

    def serve(self) -> None:
        """Divide jobs until the worker ends. Raises Closed then."""
        while True:
            self.step()

    def step(self) -> None:
        """Handle a message, or ranges that have ended, after a moment at most."""
        division = self._division
        is_busy = self._cluster.busy or (division is not None and not self._has_begun)
        message = self._channel.receive(0 if is_busy else IDLE_SECONDS)
        if message is not None:
            self._take(message)
        elif is_busy:
            for done in self._cluster.wait(WAIT_SECONDS):
                if self._division is not None:
                    self._division.take(done)
        self._go_on()

    def _go_on(self) -> None:
        division = self._division
        if division is None:
            self._cluster.release()
            return
        try:
            self._cluster.refresh()
        except NotDivided as error:
            self._refuse(error)
            return
        if not self._has_begun:
            self._begin_if_possible()
        division.hand_out()

    def _begin_if_possible(self) -> None:
        if self._cluster.count:
            self._has_begun = True
            self._channel.send({"begun": self._cluster.count})
        elif self._clock() >= self._refuse_at:
            detail = f"no node of the Ray cluster could compute within {START_SECONDS:.0f} s: all are busy or have failed"
            self._refuse(NotDivided("ray_without_nodes", detail))

    def _take(self, message: Message) -> None:
        content = message.content
        if "begin" in content:
            self._begin(JobHead(**content["begin"]))
        elif "over" in content:
            self._end(content["over"])
        elif self._division is not None and not self._division.failed:
            if "ask" in content:
                self._division.begin_pass(content["ask"])
            elif "note" in content:
                self._division.note_answer(content["note"], content["answer"], message.payload)

    def _begin(self, head: JobHead) -> None:
        self._has_begun, self._refuse_at = False, self._clock() + START_SECONDS
        self._division = Division(head, self._cluster, self._channel.send, self._clock)
        try:
            self._cluster.begin()
        except NotDivided as error:
            self._refuse(error)

    def _refuse(self, error: NotDivided) -> None:
        """End the job, because no node can compute."""
        assert self._division is not None
        reason: Json = problem(error.code, error.detail, status=503, retryable=True)
        self._channel.send({"failed": reason} if self._has_begun else {"refused": reason})
        self._end(self._division.head.key)

    def _end(self, key: str) -> None:
        if self._division is not None and self._division.head.key == key:
            self._division = None
            self._cluster.stop(key)
