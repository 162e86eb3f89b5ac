"""A driver gives up actors that are above its share."""

import pytest

from unitrank_worker.distributed.on_ray.calls import Actor, Flight
from unitrank_worker.distributed.on_ray.shares import claims_among, leave_above


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


@pytest.mark.parametrize(
    ("capacity", "since", "asked", "most", "none_is_left"),
    [
        (2, 50, {}, None, False),
        (2, 50, {"a": [10, 60]}, 1, False),
        (2, 50, {"a": [10], "b": [60]}, 1, False),
        (2, 50, {"a": [10], "b": [70, 20]}, 1, True),
        (1, None, {"a": [10]}, 1, True),
        (1, 5, {"a": [10]}, 1, False),
        (0, 50, {"a": [10]}, 0, False),
    ],
)
def test_nodes_belong_to_the_drivers_that_asked_first(
    capacity: int, since: int | None, asked: dict[str, list[int]], most: int | None, none_is_left: bool
) -> None:
    claims = claims_among(capacity, since, asked)

    assert (claims.most, claims.none_is_left) == (most, none_is_left)
