"""The share of a driver in a cluster whose nodes several drivers want.

Each worker that divides jobs has a driver with a namespace of its own in Ray. Its actors have
names, so that all drivers see who has actors or waits for some. A name tells when it was given: if
a cluster has fewer nodes than drivers, the latest drivers get none.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from unitrank_worker.distributed.on_ray.calls import Actor

PREFIX = "unitrank-actor-"
"""The beginning of the names of actors."""


class Claims(NamedTuple):
    """The claims of all drivers on the nodes of a cluster.

    `capacity`: number of actors that the cluster can have. `others`: number of other drivers.
    `earlier`: number of other drivers that asked for nodes before this one.
    """

    capacity: int = 0
    others: int = 0
    earlier: int = 0

    @property
    def most(self) -> int | None:
        """The number of actors that this driver may keep; None if no other driver wants some."""
        return -(-self.capacity // (self.others + 1)) if self.others else None

    @property
    def none_is_left(self) -> bool:
        """Whether each node belongs to a driver that asked before this one."""
        return 0 < self.capacity <= self.earlier


def actor_name(number: int) -> str:
    """A name for a new actor. `number`: a driver uses each number once."""
    return f"{PREFIX}{time.time_ns() // 10**6}-{number}"


def claims(capacity: int, names: Iterable[str]) -> Claims:
    """The claims on a cluster with this capacity. `names`: of the actors of this driver."""
    import ray
    from ray.util import list_named_actors

    asked: dict[str, list[int]] = {}
    for each in list_named_actors(all_namespaces=True):
        if each["name"].startswith(PREFIX):
            asked.setdefault(each["namespace"], []).append(_asked_at(each["name"]))
    asked.pop(ray.get_runtime_context().namespace, None)
    return claims_among(capacity, min(map(_asked_at, names), default=None), asked)


def claims_among(capacity: int, since: int | None, asked: Mapping[str, Iterable[int]]) -> Claims:
    """The claims of this driver and of others, whose namespaces are the keys of `asked`.

    `since`: when this driver asked for its first actor, in ms; None if it has not asked.
    `asked`: when the others asked for their actors, in ms.
    """
    earlier = sum(since is None or min(times) < since for times in asked.values())
    return Claims(capacity, len(asked), earlier)


def _asked_at(name: str) -> int:
    """When the actor with this name was asked for, in ms."""
    return int(name.removeprefix(PREFIX).partition("-")[0])


def leave_above(most: int, actors: Iterable[Actor]) -> None:
    """Let the actors above `most` end after their ranges: those with the fewest ranges."""
    staying = sorted((actor for actor in actors if not actor.leaves), key=lambda actor: len(actor.flights))
    for actor in staying[: max(0, len(staying) - most)]:
        actor.leaves = True
