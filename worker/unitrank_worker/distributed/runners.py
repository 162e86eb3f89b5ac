"""A child's side of the passes over rows, if the job is divided between nodes.

The owner's child sends each pass to its parent, and waits for the joined result:

    {"pass": stage, "ranges": n}  ──▶
                                  ◀──  {"shards": {"done": i, "total": n}, "rows": r, "progress": …}
                                  ◀──  {"joined": n, "nodes": k}, payload: the joined result
                                  ◀──  {"failed": problem}

A replica's child says that it has come to the pass, and then computes ranges until it gets the
joined result:

    {"pass": stage, "ranges": n}  ──▶
                                  ◀──  {"range": i}
    {"ranged": i, "rows": r, "progress": …}, payload: the range's result  ──▶
                                  ◀──  {"joined": n}, payload: the joined result

A child that gets {"stop": true} ends the job as cancelled.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unitrank_engine.errors import Cancelled
from unitrank_engine.job.passes import Compute, LocalRunner, PassRunner
from unitrank_schemas.base import Json
from unitrank_tables.part import Part
from unitrank_tables.range_result import RangeResult
from unitrank_worker.distributed.errors import RangeFailed
from unitrank_worker.process.channel import Channel, Message
from unitrank_worker.process.parent import ParentParts, Reporter


class OwnerReporter(Reporter):
    """Reports the owner's progress together with the rows that the replicas have computed."""

    def __init__(self, channel: Channel, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: returns seconds."""
        super().__init__(channel)
        self._clock = clock
        self._since: float | None = None
        self._own: Json | None = None
        self._shared: Json = {"shards": None, "rows": 0, "progress": None}

    def __call__(self, progress: Json) -> None:
        """As in `Reporter`."""
        self._own = progress
        self.raise_if_stopped()
        self._send(progress)

    def shared(self, content: Json) -> None:
        """Report what the replicas have done: `shards` of the pass, and `rows` of all passes.

        `progress`: the last progress of a replica. The next message may be the joined result, so
        this method reads none.
        """
        self._since = self._clock() if self._since is None else self._since
        self._shared = content
        latest = content["progress"] or self._own
        if latest is not None:
            self._send(latest)

    def _send(self, latest: Json) -> None:
        done = (self._own or {"done": 0})["done"] + self._shared["rows"]
        total = max(done, latest["total"])
        eta = latest["eta"] if self._since is None else self._eta(total - done)
        self.pass_on({**latest, "done": done, "total": total, "eta": eta, "shards": self._shared["shards"]})

    def _eta(self, left: int) -> float | None:
        """The seconds that are left, at the speed of all replicas so far."""
        rows = self._shared["rows"]
        return (self._clock() - (self._since or 0.0)) * left / rows if rows else None


class OwnerRunner:
    """Sends each pass to the parent, and waits for its joined result.

    `nodes`: the largest number of nodes that have computed ranges of one pass.
    """

    def __init__(self, channel: Channel, report: OwnerReporter) -> None:
        self._channel = channel
        self._report = report
        self.nodes = 0

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        """As in `PassRunner`. Raises RangeFailed."""
        self._channel.send({"pass": stage, "ranges": len(ranges)})
        while True:
            message = _received(self._channel)
            content = message.content
            if "joined" in content:
                self.nodes = max(self.nodes, content["nodes"])
                return RangeResult.decode(message.payload)
            if "failed" in content:
                raise RangeFailed(content["failed"])
            if "shards" in content:
                self._report.shared(content)


class ReplicaReporter(Reporter):
    """Notes a replica's progress and sends none. Raises Cancelled if the parent sent a stop."""

    def __call__(self, progress: Json) -> None:
        """As in `Reporter`."""
        self.last = progress
        self.raise_if_stopped()

    @property
    def rows(self) -> int:
        """The rows that this replica has computed so far."""
        return int(self.last["done"]) if self.last else 0


class ReplicaRunner:
    """Computes the ranges of a pass that the parent asks for, until it gets the joined result."""

    def __init__(self, channel: Channel, report: ReplicaReporter) -> None:
        self._channel = channel
        self._report = report

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        """As in `PassRunner`."""
        self._channel.send({"pass": stage, "ranges": len(ranges)})
        while True:
            message = _received(self._channel)
            if "joined" in message.content:
                return RangeResult.decode(message.payload)
            if "range" in message.content:
                number, before = message.content["range"], self._report.rows
                result = compute(ranges[number])
                done = {"ranged": number, "rows": self._report.rows - before, "progress": self._report.last}
                self._channel.send(done, result.encode())


class ReplicaParts(ParentParts):
    """Parts of earlier jobs in a replica: it gets those that the owner got."""

    def put(self, parts: Mapping[str, Part]) -> None:
        """Do nothing: the owner stores the parts."""


@dataclass(frozen=True)
class Role:
    """A child's share in a job: the whole job, or the owner's or a replica's share."""

    runner: PassRunner
    report: Reporter
    parts: ParentParts
    is_replica: bool = False

    @property
    def nodes(self) -> int | None:
        """The number of nodes that have computed ranges; None if the job is not divided."""
        return self.runner.nodes if isinstance(self.runner, OwnerRunner) else None


def _local(channel: Channel) -> Role:
    return Role(LocalRunner(), Reporter(channel), ParentParts(channel))


def _owner(channel: Channel) -> Role:
    report = OwnerReporter(channel)
    return Role(OwnerRunner(channel, report), report, ParentParts(channel))


def _replica(channel: Channel) -> Role:
    report = ReplicaReporter(channel)
    return Role(ReplicaRunner(channel, report), report, ReplicaParts(channel), is_replica=True)


ROLES: dict[str, Callable[[Channel], Role]] = {"local": _local, "owner": _owner, "replica": _replica}


def _received(channel: Channel) -> Message:
    """The parent's next message. Raises Cancelled if it is a stop."""
    while (message := channel.receive()) is None:
        pass
    if "stop" in message.content:
        raise Cancelled("the parent stopped the job")
    return message
