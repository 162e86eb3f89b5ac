"""The replicas of one node. It knows no Ray and no store of records, and opens blobs by digest."""

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import structlog

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import Corrupt, RecordNotFound
from unitrank_store.settings import Settings
from unitrank_worker.attempts.attempt import CannotRun, opened
from unitrank_worker.attempts.shard_reads import ShardReads
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.children import scratch
from unitrank_worker.children.handle import ChildHandle, NotStarted
from unitrank_worker.children.pool import ChildPool, PoolLimits
from unitrank_worker.distributed.errors import EQUAL_NODES, Differs, ReplicaEnded, Stopped
from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Outcome, Replica, Step, StopFlags
from unitrank_worker.problem import INTERNAL, problem
from unitrank_worker.process.channel import Closed
from unitrank_worker.process.watch import START_SECONDS

log = structlog.get_logger()

UNREADABLE = (CannotRun, Corrupt, RecordNotFound, OSError)
"""Errors of a blob store that a node cannot read."""


class NodeFacts(NamedTuple):
    """The versions that must be equal on all nodes."""

    unitrank: str
    torch: str
    python: str

    @classmethod
    def here(cls) -> "NodeFacts":
        """The facts of this machine. torch itself is not imported."""
        return cls(_version("unitrank"), _version("torch"), platform.python_version())

    def differences(self, theirs: "NodeFacts", place: str) -> str:
        """The versions that differ from those of a node, as text. `place`: the node's address."""
        return "; ".join(
            f"{name} {there} on node {place}, {here} here"
            for name, here, there in zip(self._fields, self, theirs, strict=True)
            if here != there
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


class Node:
    """A node's children and its replica. Only one thread may call it, except `interrupt`.

    A child gets SIGKILL when the thread that started it ends. So this thread must live as long as
    the process.
    """

    def __init__(self, engine: str, device: str, settings: Settings) -> None:
        """Start the first child, and wait until it is ready. Raises NotStarted.

        `engine`: `module:name`. `settings`: the settings of this node's operator.
        """
        self._blobs = BlobStore.of(settings)
        folders = self._blobs.spool / "children"
        scratch.sweep(folders)
        child_settings = ChildSettings.of(settings, folders)
        limits = PoolLimits.of(settings, "job", device)
        self._pool = ChildPool(lambda: ChildHandle(child_settings, engine, device), limits, lambda reason: None)
        self._pool.start(START_SECONDS)
        self._replica: Replica | None = None
        self._stopped = StopFlags()

    def compute(self, head: JobHead, step: Step, index: int, answer: Callable[[int], Answer]) -> Outcome:
        """The outcome of a range of the job's pass at `step`.

        `answer`: returns the answer to an earlier question of the job.
        """
        if head.key in self._stopped:
            return Outcome("stopped")
        try:
            return self._replica_of(head).compute(step, index, answer)
        except Stopped:
            return Outcome("stopped")
        except Closed as error:
            log.warning("replica lost", job=head.key, range=index, because=str(error))
            self._remove()
            return Outcome("crashed")
        except ReplicaEnded as error:
            if error.leaves:
                self._remove()
            self._release()
            return Outcome("failed", details=error.problem or INTERNAL)
        except Differs as error:
            self._remove()
            return Outcome("failed", details=problem("nodes_differ", f"{error}; {EQUAL_NODES}", status=500))
        except UNREADABLE as error:
            log.error("blobs not readable", job=head.key, error=repr(error))
            return Outcome("unreadable", details={"reason": str(error)})

    def interrupt(self, key: str) -> None:
        """Stop the job: `compute` returns within a moment. Another thread may call this method."""
        self._stopped.add(key)

    def finish(self, key: str) -> None:
        """End the job's replica. Its child stays, with its models."""
        self._stopped.add(key)
        replica = self._replica
        if replica is None or replica.key != key:
            return
        try:
            can_run = replica.stop()
        except Closed:
            can_run = False
        if can_run:
            self._release()
            self._pool.shrink()
        else:
            self._remove()

    def end(self) -> None:
        """Kill the children."""
        self._pool.end()

    def _replica_of(self, head: JobHead) -> Replica:
        """The job's replica. A replica of an earlier job ends. Raises Closed and UNREADABLE."""
        if self._replica is not None and self._replica.key != head.key:
            self.finish(self._replica.key)
        if self._replica is None:
            child = self._pool.child_of(head.tenant)
            try:
                child.await_ready(START_SECONDS)
            except NotStarted as error:
                self._pool.remove(child)
                raise Closed(str(error)) from error
            shards = ShardReads(self._blobs, head.datasets)
            replica = Replica(head, child, lambda: head.key in self._stopped, shards)
            models = [head.model] if head.model and head.model not in child.warm else []
            contents = [*head.datasets, *models]
            kinds = ["dataset"] * len(head.datasets) + ["model"] * len(models)
            files, digests = opened(self._blobs, contents, [], kinds)
            replica.begin(files, digests)
            self._replica = replica
        return self._replica

    def _remove(self) -> None:
        """Kill the replica's child, so that the next replica gets another one."""
        if self._replica is not None:
            self._pool.remove(self._replica.child)
        self._release()

    def _release(self) -> None:
        """Forget the replica. Its child stays."""
        if self._replica is not None:
            self._replica.shards.close()
            self._replica = None
