"""A node as an actor of Ray. Only the driver and Ray's processes run this module's classes."""

import os
from collections.abc import Sequence
from typing import Any

from unitrank_store.observability import logs
from unitrank_store.settings import Settings
from unitrank_worker.distributed.node import Node, NodeFacts
from unitrank_worker.distributed.on_ray.references import NOTHING, References
from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Outcome, Step

CONTROL = "control"
"""The group of Ray's threads that runs `interrupt` while the node computes."""


class RayNode:
    """A node as an actor of Ray.

    Ray runs all methods but `interrupt` in one thread, which lives as long as the actor's process.
    So the children of the node live as long as the actor.
    """

    def __init__(self, engine: str, device: str) -> None:
        """Start the first child. The settings are those of the environment of this machine."""
        settings = Settings.read()
        logs.configure(settings.log_format)
        # Equal threads give equal sums. Ray sets this variable to the CPUs of the actor.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._node = Node(engine, device, settings)
        self._head: JobHead | None = None
        self._references = NOTHING

    def facts(self) -> NodeFacts:
        """The versions of this machine."""
        return NodeFacts.here()

    def compute(self, key: str, step: Step, index: int, references: References | None) -> Outcome | None:
        """As `Node.compute`, for the job with this key. None without references of the job.

        `references`: of the job and its answers; None if they are those of the last call, because
        each reference in a call costs Ray some messages.
        """
        import ray

        if references is not None:
            if self._head is None or self._head.key != key:
                self._head = ray.get(references.head) if isinstance(references.head, ray.ObjectRef) else references.head
            self._references = references
        if self._head is None or (self._head.key, self._references.number) != (key, step.number):
            return None
        return self._node.compute(self._head, step, index, self._answer)

    def interrupt(self, key: str) -> None:
        """As `Node.interrupt`."""
        self._node.interrupt(key)

    def finish(self, key: str) -> None:
        """As `Node.finish`."""
        self._node.finish(key)
        if self._head is not None and self._head.key == key:
            self._head, self._references = None, NOTHING

    def _answer(self, number: int) -> Answer:
        """The answer to an earlier question of the job."""
        import ray

        if number == self._references.number - 1:
            latest: Answer = ray.get(self._references.latest)
            return latest
        log: Sequence[Any] = ray.get(self._references.log)
        earlier: Answer = ray.get(log[number])
        return earlier


def actor_class() -> Any:
    """The class for Ray. Any: Ray's class."""
    import ray

    methods = {"interrupt": ray.method(concurrency_group=CONTROL)(RayNode.interrupt)}
    return ray.remote(concurrency_groups={CONTROL: 1})(type("RayNode", (RayNode,), methods))
