"""The nodes of a Ray cluster: an actor for each GPU, or for each CPU if the cluster has no GPU.

An actor holds its GPU or CPU while it is warm. So the actors end after some time without a job, and
other drivers of the same cluster can use the GPUs.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import structlog

from unitrank_worker.distributed.errors import NotDivided
from unitrank_worker.distributed.node import NodeFacts
from unitrank_worker.distributed.nodes import Done, Kept
from unitrank_worker.distributed.on_ray.actor import References, actor_class
from unitrank_worker.distributed.on_ray.calls import Actor, Calls, Flight, Reference
from unitrank_worker.distributed.on_ray.machines import machines
from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Outcome, Step

log = structlog.get_logger()

IN_FLIGHT = 2
"""Ranges that an actor has at the same time: it computes one, and the next one waits there."""
REFRESH_SECONDS = 1.0
"""Seconds between two looks at the machines of the cluster."""
IDLE_SECONDS = 60.0
"""Seconds without a job after which the actors end."""
BEGIN_AGAIN_SECONDS = 30.0
"""Seconds after which a machine whose actor could not start is tried again."""


class RayNodes:
    """The actors of a cluster. As `Cluster`. Only one thread may use it."""

    def __init__(
        self,
        connect: Callable[[], None],
        engine: str,
        facts: NodeFacts,
        new_class: Callable[[], Any] = actor_class,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connect`: connects to Ray, or raises NotDivided. `facts`: the owner's versions.

        `engine`: `module:name`. `new_class`: returns Ray's class of the actors. Any: Ray's class.
        `clock`: returns seconds.
        """
        self._connect = connect
        self._engine = engine
        self._facts = facts
        self._clock = clock
        self._new_class = new_class
        self._class: Any = None
        self._actors: dict[str, Actor] = {}
        self._calls = Calls()
        self._failed: dict[str, tuple[float, str]] = {}
        """Machine → when its actor could not start, and why."""
        self._left_out: set[str] = set()
        self._number = 0
        self._refresh_at = 0.0
        self._idle_since: float | None = None
        self._head: tuple[str, Reference] = ("", None)
        self._log: tuple[str, int, Reference] = ("", 0, None)

    def begin(self) -> None:
        """As in `Cluster`."""
        if self._class is None:
            self._connect()
            self._class = self._new_class()
        self._left_out.clear()
        self._failed.clear()
        self._idle_since, self._refresh_at = None, 0.0

    def refresh(self) -> None:
        """As in `Cluster`."""
        if self._clock() < self._refresh_at:
            return
        self._refresh_at = self._clock() + REFRESH_SECONDS
        present = machines()
        for name, actor in list(self._actors.items()):
            if actor.machine not in present and not actor.flights:
                self._forget(name)
        for machine, (place, options, capacity) in present.items():
            failed_at, _ = self._failed.get(machine, (-BEGIN_AGAIN_SECONDS, ""))
            if self._clock() - failed_at >= BEGIN_AGAIN_SECONDS:
                running = sum(actor.machine == machine for actor in self._actors.values())
                for _ in range(running, capacity):
                    self._start(machine, place, options)
        if not self._actors and self._failed:
            places = "; ".join(sorted({reason for _, reason in self._failed.values()}))
            raise NotDivided("ray_without_nodes", f"no node of the Ray cluster can compute: {places}")

    def release(self) -> None:
        """As in `Cluster`."""
        if self._idle_since is None:
            self._idle_since = self._clock()
        elif self._actors and self._clock() - self._idle_since >= IDLE_SECONDS:
            for name in list(self._actors):
                self._forget(name)

    @property
    def count(self) -> int:
        """As in `Nodes`."""
        return len(self._able())

    @property
    def busy(self) -> bool:
        """As in `Nodes`. An actor that starts makes the cluster busy, too."""
        return any(actor.flights or actor.starts is not None for actor in self._actors.values())

    def free(self) -> Sequence[str]:
        """As in `Nodes`."""
        able = self._able()
        return sorted((name for name in able if len(able[name].flights) < IN_FLIGHT), key=lambda name: len(able[name].flights))

    def keep(self, answer: Answer) -> Kept:
        """As in `Nodes`: Ray's store holds the answer once for each machine."""
        import ray

        return ray.put(answer)

    def submit(self, node: str, head: JobHead, step: Step, index: int, answers: Sequence[Kept]) -> None:
        """As in `Nodes`."""
        actor, needed = self._actors[node], (head.key, len(answers))
        references = None if actor.has == needed else self._references(head, answers)
        reference = actor.handle.compute.remote(head.key, step, index, references)
        actor.has, actor.flights[reference] = needed, Flight(head.key, index)
        self._calls.expect(node, reference)

    def wait(self, seconds: float) -> Sequence[Done]:
        """As in `Nodes`."""
        done: list[Done] = []
        for name, reference, result in self._calls.ended(seconds):
            actor = self._actors.get(name)
            if actor is not None and reference == actor.starts:
                done += self._started(name, actor, result)
            elif actor is not None and reference in actor.flights:
                done.append(self._ended(name, actor, reference, result))
        return done

    def leave_out(self, place: str) -> None:
        """As in `Nodes`."""
        self._left_out.add(place)

    def stop(self, key: str) -> None:
        """As in `Nodes`."""
        for actor in self._actors.values():
            actor.has = None
            if actor.is_ready:
                actor.handle.interrupt.remote(key)
                actor.handle.finish.remote(key)
        self._head, self._log = ("", None), ("", 0, None)

    def _able(self) -> dict[str, Actor]:
        return {name: actor for name, actor in self._actors.items() if actor.is_ready and actor.place not in self._left_out}

    def _references(self, head: JobHead, answers: Sequence[Kept]) -> References:
        """The references that an actor needs before the first range after these answers."""
        import ray

        if self._head[0] != head.key:
            self._head = (head.key, ray.put(head))
        if self._log[:2] != (head.key, len(answers)):
            self._log = (head.key, len(answers), ray.put(list(answers)))
        return References(self._head[1], len(answers), answers[-1] if answers else None, self._log[2])

    def _start(self, machine: str, place: str, options: dict[str, Any]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        device = "cuda:0" if options.get("num_gpus") else "cpu"
        strategy = NodeAffinitySchedulingStrategy(machine, soft=False)
        handle = self._class.options(**options, max_restarts=-1, scheduling_strategy=strategy).remote(self._engine, device)
        self._number += 1
        name = f"actor-{self._number}"
        self._actors[name] = Actor(machine, place, handle)
        self._ask_facts(name)

    def _ask_facts(self, name: str) -> None:
        """Ask the actor for its facts. If Ray starts the actor again, the answer waits for that."""
        actor = self._actors[name]
        actor.is_ready, actor.has = False, None
        actor.starts = actor.handle.facts.remote()
        self._calls.expect(name, actor.starts)

    def _started(self, name: str, actor: Actor, result: "Future[Any]") -> Sequence[Done]:
        """Use an actor whose facts are here. Returns the ranges of an actor that cannot start.

        Raises NotDivided if its versions differ.
        """
        import ray

        actor.starts = None
        try:
            facts = NodeFacts(*result.result())
        except ray.exceptions.ActorUnavailableError:
            self._ask_facts(name)
            return []
        except ray.exceptions.RayError as error:
            log.warning("actor not started", place=actor.place, error=str(error))
            self._failed[actor.machine] = (self._clock(), f"{actor.place}: {_last_line(error)}")
            self._forget(name)
            return [Done(flight.key, actor.place, flight.index, None, is_first=False) for flight in actor.flights.values()]
        if facts != self._facts:
            differing = "; ".join(
                f"{name} {theirs} on node {actor.place}, {ours} here"
                for name, ours, theirs in zip(NodeFacts._fields, self._facts, facts, strict=True)
                if ours != theirs
            )
            raise NotDivided("ray_versions_differ", f"the versions differ: {differing}; install the same ones on all nodes")
        actor.is_ready = True
        return []

    def _ended(self, name: str, actor: Actor, reference: Reference, result: "Future[Any]") -> Done:
        """The outcome of a range. After a loss the actor is asked for its facts again."""
        import ray

        is_first = next(iter(actor.flights)) == reference
        flight = actor.flights.pop(reference)
        outcome: Outcome | None = None
        try:
            outcome = result.result()
            if outcome is None:
                # Ray has started the actor again, so the actor has no references.
                actor.has, is_first = None, False
        except ray.exceptions.RayTaskError as error:
            log.error("actor failed", place=actor.place, error=str(error))
        except ray.exceptions.RayError as error:
            log.warning("actor lost", place=actor.place, error=_last_line(error))
            if actor.starts is None:
                self._ask_facts(name)
        return Done(flight.key, actor.place, flight.index, outcome, is_first)

    def _forget(self, name: str) -> None:
        """End the actor, and forget it."""
        import ray

        actor = self._actors.pop(name)
        try:
            ray.kill(actor.handle)
        except (ray.exceptions.RayError, ValueError) as error:
            log.info("actor was gone", place=actor.place, error=str(error))


def _last_line(error: Exception) -> str:
    """The last line of an error of Ray, which has the traceback of the node."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
