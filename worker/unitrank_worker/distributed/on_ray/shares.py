"""The share of a driver in a cluster whose nodes several drivers want.

Each worker that divides jobs has a driver with a namespace of its own in Ray. Its actors have
names, so that all drivers see who has actors or waits for some.
"""

from collections.abc import Iterable

from unitrank_worker.distributed.on_ray.calls import Actor

PREFIX = "unitrank-actor-"
"""The beginning of the names of actors."""


def most_actors(capacity: int) -> int | None:
    """The number of actors that this driver may keep; None if no other driver wants some.

    `capacity`: number of actors that the cluster can have.
    """
    import ray
    from ray.util import list_named_actors

    here = ray.get_runtime_context().namespace
    names = list_named_actors(all_namespaces=True)
    others = {each["namespace"] for each in names if each["name"].startswith(PREFIX)} - {here}
    return -(-capacity // (len(others) + 1)) if others else None


def leave_above(most: int, actors: Iterable[Actor]) -> None:
    """Let the actors above `most` end after their ranges: those with the fewest ranges."""
    staying = sorted((actor for actor in actors if not actor.leaves), key=lambda actor: len(actor.flights))
    for actor in staying[: max(0, len(staying) - most)]:
        actor.leaves = True
