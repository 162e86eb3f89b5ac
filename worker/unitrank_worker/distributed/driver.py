"""The process that is Ray's driver: it gets the questions of one job after another from its worker.

    worker ──▶  {"begin": head}                       ──▶ {"begun": nodes} or {"refused": problem}
                {"ask": pass}                         ──▶ {"shards": …}, {"joined": …}, {"failed": …}
                {"note": question, "answer": content}
                {"over": key}

It is not the worker's process for three reasons. Ray ends the driver's process if the head of the
cluster is lost. Ray's processes get the environment of the driver, and must not get the address of
the store. And Ray starts threads and handles signals, which RQ does too.
"""

import argparse
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog

from unitrank_store.observability import logs
from unitrank_store.redis.die_with_parent import die_with_parent
from unitrank_worker.distributed.division import Division
from unitrank_worker.distributed.errors import NotDivided
from unitrank_worker.distributed.node import NodeFacts
from unitrank_worker.distributed.nodes import Nodes
from unitrank_worker.distributed.on_ray.connection import connect
from unitrank_worker.distributed.on_ray.nodes import RayNodes
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.problem import INTERNAL, problem
from unitrank_worker.process.channel import Channel, Closed, Message

log = structlog.get_logger()

WAIT_SECONDS = 0.05
"""Maximum seconds that the driver waits for nodes before it looks for a message."""
IDLE_SECONDS = 0.5
"""Maximum seconds that the driver waits for a message while no pass runs."""
START_SECONDS = 120.0
"""Seconds after which a job is refused if no node can compute: a node must import torch first."""
TAKEN_SECONDS = 5.0
"""Seconds after which a job that need not be divided runs alone, if other jobs have all nodes."""


class Cluster(Nodes, Protocol):
    """The nodes of a cluster, which come and go."""

    @property
    def none_is_left(self) -> bool:
        """Whether each node belongs to a driver that asked for nodes before this one."""
        ...

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
        self._with_nodes_at = 0.0
        """When a node could compute for the last time, or the job began."""

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
        try:
            self._go_on(WAIT_SECONDS if is_busy and message is None else 0, hand_out=message is None)
        except NotDivided as error:
            self._refuse(error)

    def _go_on(self, seconds: float, *, hand_out: bool) -> None:
        """Take the ranges that end within `seconds`, and hand out others. Raises NotDivided.

        `hand_out`: whether to hand out ranges even if none has ended.
        """
        division, cluster = self._division, self._cluster
        ended = cluster.wait(seconds)
        for done in ended:
            if division is not None:
                division.take(done)
        if division is None:
            cluster.release()
            return
        cluster.refresh()
        if cluster.count:
            self._with_nodes_at = self._clock()
            if not self._has_begun:
                self._has_begun = True
                self._channel.send({"begun": cluster.count, "key": division.head.key})
        else:
            self._wait_for_nodes(division.head)
        if hand_out or ended:
            division.hand_out()

    def _wait_for_nodes(self, head: JobHead) -> None:
        """Raises NotDivided if the job has waited long enough for a node."""
        seconds = self._clock() - self._with_nodes_at
        if seconds >= START_SECONDS:
            detail = f"no node of the Ray cluster could compute for {START_SECONDS:.0f} s: all are busy or lost"
            raise NotDivided("ray_without_nodes", detail)
        may_run_alone = not self._has_begun and head.content.get("request", {}).get("execution") != "distributed"
        if may_run_alone and seconds >= TAKEN_SECONDS and self._cluster.none_is_left:
            raise NotDivided("ray_without_nodes", "other jobs have all nodes of the Ray cluster")

    def _take(self, message: Message) -> None:
        content = message.content
        if "begin" in content:
            self._begin(JobHead(**content["begin"]))
        elif "over" in content:
            self._end(content["over"])
        elif "ask" in content and self._division is not None:
            try:
                self._division.begin_pass(content["ask"])
            except ValueError as error:
                log.error("pass not begun", error=str(error))
                self._division.fail(INTERNAL)
        elif "note" in content and self._division is not None:
            self._division.note_answer(content["note"], content["answer"], message.payload)

    def _begin(self, head: JobHead) -> None:
        self._has_begun, self._with_nodes_at = False, self._clock()
        self._division = Division(
            head, self._cluster, self._channel.send, most_bytes=self._channel.payload_bytes, clock=self._clock
        )
        try:
            self._cluster.begin()
        except NotDivided as error:
            self._refuse(error)

    def _refuse(self, error: NotDivided) -> None:
        """End the job, because no node can compute."""
        division = self._division
        if division is None or division.failure is not None:
            return
        reason = problem(error.code, error.detail, status=503, retryable=True)
        if self._has_begun:
            division.fail(reason)
            self._cluster.stop(division.head.key)
        else:
            self._channel.send({"refused": reason, "key": division.head.key})
            self._end(division.head.key)

    def _end(self, key: str) -> None:
        if self._division is not None and self._division.head.key == key:
            self._division = None
            self._cluster.stop(key)


def main(arguments: Sequence[str] | None = None) -> None:
    """Divide jobs between the nodes of a Ray cluster until the worker ends."""
    parser = argparse.ArgumentParser(prog="unitrank_worker.distributed.driver")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--payload-bytes", type=int, required=True)
    parser.add_argument("--log-format", default="people")
    options = parser.parse_args(arguments)
    die_with_parent(signal.SIGKILL, options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(options.log_format)
    channel = Channel(socket.socket(fileno=options.fd), payload_bytes=options.payload_bytes)
    connection = partial(connect, options.address, gpus=options.device != "cpu")
    driver = Driver(channel, RayNodes(connection, options.engine, NodeFacts.here()))
    # Ray handles SIGTERM of its driver. The worker decides when the driver ends.
    with suppress(Closed):
        driver.serve()


if __name__ == "__main__":
    main()
