"""The nodes of a Ray cluster: an actor for each GPU, or for each CPU if the cluster has no GPU.

An actor holds its GPU or CPU while it is warm. So the actors end after some time without a job, or
at once if other drivers want nodes of the cluster. A driver with a job keeps an equal share.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from typing import Any

import structlog

from unitrank_worker.distributed.errors import NotDivided
from unitrank_worker.distributed.node import NodeFacts
from unitrank_worker.distributed.nodes import Done, Kept
from unitrank_worker.distributed.on_ray.actor import actor_class
from unitrank_worker.distributed.on_ray.calls import Actor, Calls, Flight, Reference, end, last_line
from unitrank_worker.distributed.on_ray.machines import Machine, machines
from unitrank_worker.distributed.on_ray.references import JobReferences
from unitrank_worker.distributed.on_ray.shares import Claims, actor_name, claims, leave_above
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

        `engine`: `module:name`. `new_class`: returns Ray's class of the actors (Any).
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
        self._numbers = count()
        self._refresh_at = 0.0
        self._idle_since: float | None = None
        self._references = JobReferences()
        self._claims = Claims()

    def begin(self) -> None:
        """As in `Cluster`."""
        if self._class is None:
            self._connect()
            self._class = self._new_class()
        self._left_out.clear()
        self._failed.clear()
        self._idle_since, self._refresh_at, self._claims = None, 0.0, Claims()

    def refresh(self) -> None:
        """As in `Cluster`."""
        if self._clock() < self._refresh_at:
            return
        self._refresh_at = self._clock() + REFRESH_SECONDS
        present = machines()
        for name, actor in list(self._actors.items()):
            if not actor.flights and (actor.leaves or actor.machine not in present):
                self._forget(name)
        self._claims = claims(sum(machine.capacity for machine in present.values()), self._actors)
        if (most := self._claims.most) is None or sum(actor.is_ready for actor in self._actors.values()) < most:
            self._start_on(present)
        else:
            self._keep_share(most)
        if not self._actors and self._failed:
            places = "; ".join(sorted({reason for _, reason in self._failed.values()}))
            raise NotDivided("ray_without_nodes", f"no node of the Ray cluster can compute: {places}")

    def release(self) -> None:
        """As in `Cluster`."""
        now = self._clock()
        if self._idle_since is None:
            self._idle_since = now
        if not self._actors or now < self._refresh_at:
            return
        self._refresh_at = now + REFRESH_SECONDS
        if now - self._idle_since >= IDLE_SECONDS or claims(0, ()).others:
            while self._actors:
                self._forget(next(iter(self._actors)))

    @property
    def count(self) -> int:
        """As in `Nodes`."""
        return len(self._able())

    @property
    def busy(self) -> bool:
        """As in `Nodes`. An actor that starts makes the cluster busy, too."""
        return any(actor.flights or actor.starts is not None for actor in self._actors.values())

    @property
    def none_is_left(self) -> bool:
        """As in `Cluster`."""
        return self._claims.none_is_left

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
        has_head = actor.has is not None and actor.has[0] == head.key
        references = None if actor.has == needed else self._references.of(head, answers, has_head=has_head)
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
        self._references.forget()

    def _able(self) -> dict[str, Actor]:
        return {name: actor for name, actor in self._actors.items() if actor.is_able and actor.place not in self._left_out}

    def _start_on(self, present: Mapping[str, Machine]) -> None:
        """Ask for the missing actors of these machines. Each waits for a free GPU or CPU."""
        for machine, (place, options, capacity) in present.items():
            failed_at, _ = self._failed.get(machine, (-BEGIN_AGAIN_SECONDS, ""))
            if self._clock() - failed_at >= BEGIN_AGAIN_SECONDS:
                running = sum(actor.machine == machine for actor in self._actors.values())
                for _ in range(running, capacity):
                    self._start(machine, place, options)

    def _keep_share(self, most: int) -> None:
        """Give up the actors that wait, and the ready ones above `most`."""
        for name, actor in list(self._actors.items()):
            if not actor.is_ready and not actor.flights:
                self._forget(name)
        leave_above(most, self._actors.values())

    def _start(self, machine: str, place: str, options: dict[str, Any]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        name = actor_name(next(self._numbers))
        # Actors notice the loss of the head by Ray's task events, so these stay on.
        options = options | {"name": name, "max_restarts": -1}
        template = self._class.options(**options, scheduling_strategy=NodeAffinitySchedulingStrategy(machine, soft=False))
        self._actors[name] = Actor(machine, place, template.remote(self._engine, "cuda:0" if "num_gpus" in options else "cpu"))
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
            self._failed[actor.machine] = (self._clock(), f"{actor.place}: {last_line(error)}")
            self._forget(name)
            return [Done(flight.key, actor.place, flight.index, None, is_first=False) for flight in actor.flights.values()]
        if facts != self._facts:
            differing = self._facts.differences(facts, actor.place)
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
            log.warning("actor lost", place=actor.place, error=last_line(error))
            if actor.starts is None:
                self._ask_facts(name)
        return Done(flight.key, actor.place, flight.index, outcome, is_first)

    def _forget(self, name: str) -> None:
        """End the actor, and forget it."""
        end(self._actors.pop(name))
