"""A driver gives up actors that are above its share."""

import pytest

from unitrank_worker.distributed.on_ray.calls import Actor, Flight
from unitrank_worker.distributed.on_ray.shares import leave_above


def actor(ranges: int, *, leaves: bool = False) -> Actor:
    flights = {number: Flight("job", number) for number in range(ranges)}
    return Actor("machine", "10.0.0.1", None, flights=flights, is_ready=True, leaves=leaves)


@pytest.mark.parametrize(("most", "leaving"), [(4, [False] * 4), (3, [False, True, False, False]), (1, [True, True, False, True])])
def test_actors_above_the_share_leave_and_the_idlest_go_first(most: int, leaving: list[bool]) -> None:
    actors = [actor(1), actor(0), actor(2), actor(1)]
    leave_above(most, actors)

    assert [each.leaves for each in actors] == leaving
    assert [each.is_able for each in actors] == [not leaves for leaves in leaving]


def test_actors_that_leave_already_count_as_given_up() -> None:
    actors = [actor(2, leaves=True), actor(1), actor(1)]
    leave_above(2, actors)

    assert [each.leaves for each in actors] == [True, False, False]
