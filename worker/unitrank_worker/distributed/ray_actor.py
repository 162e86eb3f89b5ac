"""A node as an actor of Ray. Only the driver and Ray's processes run this module's classes."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from unitrank_store.observability import logs
from unitrank_store.settings import Settings
from unitrank_worker.distributed.node import Node, NodeFacts
from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Outcome, Step

CONTROL = "control"
"""The group of Ray's threads that runs `interrupt` while the node computes."""


class References(NamedTuple):
    """References to the job's answers. Any: Ray's references.

    `latest`: to the last answer; None before the first one. `log`: to the list of all references.
    """

    latest: Any
    log: Any


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

    def facts(self) -> NodeFacts:
        """The versions of this machine."""
        return NodeFacts.here()

    def compute(self, head: JobHead, step: Step, index: int, references: References) -> Outcome:
        """As `Node.compute`."""
        import ray

        def answer(number: int) -> Answer:
            if number == step.number - 1:
                latest: Answer = ray.get(references.latest)
                return latest
            log: Sequence[Any] = ray.get(references.log)
            earlier: Answer = ray.get(log[number])
            return earlier

        return self._node.compute(head, step, index, answer)

    def interrupt(self, key: str) -> None:
        """As `Node.interrupt`."""
        self._node.interrupt(key)

    def finish(self, key: str) -> None:
        """As `Node.finish`."""
        self._node.finish(key)


def actor_class() -> Any:
    """The class for Ray. Any: Ray's class."""
    import ray

    methods = {"interrupt": ray.method(concurrency_group=CONTROL)(RayNode.interrupt)}
    return ray.remote(concurrency_groups={CONTROL: 1})(type("RayNode", (RayNode,), methods))
