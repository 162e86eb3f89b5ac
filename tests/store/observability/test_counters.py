"""Counters: valid fields are read, and forged ones are ignored."""

import json

import pytest
import redis

from unitrank_store.observability.counters import Counters, read
from unitrank_store.redis import keyspace

FORGED = [
    b"junk",
    b"\xff",
    b"[]",
    b"1",
    b"null",
    b'["run"]',
    b'["run", "m"]',
    b'["run", "m", "999"]',
    b'["run", [], "1"]',
    b'["lost"]',
]
FORGED += [b'["count", "x"]', b'["nothing", "x"]', b'["lost", 1]', b'[["lost"], "x"]', b'{"lost": 1}', b'["run", "m", "x"]']


def test_method_when_it_does_not_exist_then_is_not_counted(connection: redis.Redis) -> None:
    with connection.pipeline() as pipeline:
        Counters(connection).ran({"rankings": [{"method": {"name": "made up by a child"}, "seconds": 0.5}]}, pipeline)
        pipeline.execute()

    assert read(connection.hgetall(keyspace.counters())).run == {}


def test_durations_when_a_result_has_several_layers_then_those_of_all_are_counted(connection: redis.Redis) -> None:
    of_layer = {"rankings": [{"method": {"name": "gradient"}, "seconds": 0.5}]}
    with connection.pipeline() as pipeline:
        Counters(connection).ran({"layers": {"a": of_layer, "b": of_layer}, "joint": of_layer}, pipeline)
        Counters(connection).ran({"layers": {"a": of_layer}, "joint": None}, pipeline)
        pipeline.execute()
    counted = read(connection.hgetall(keyspace.counters())).run["gradient"]

    assert (sum(counted.counts), counted.seconds) == (4, 2.0)


@pytest.mark.parametrize("field", FORGED)
@pytest.mark.parametrize("value", ["1", "junk", "inf", b"\xff"])
def test_counters_when_a_field_is_forged_then_the_others_are_read(
    connection: redis.Redis, field: bytes, value: str | bytes
) -> None:
    counters = Counters(connection)
    counters.lost("job")
    counters.child_ended("spoiled")
    with connection.pipeline() as pipeline:
        counters.ran({"rankings": [{"method": {"name": "gradient"}, "seconds": 0.5}]}, pipeline)
        pipeline.execute()
    connection.hset(keyspace.counters(), field, value)
    connection.hset(keyspace.counters(), json.dumps(["run", "gradient", "0"]), "inf")
    values = read(connection.hgetall(keyspace.counters()))

    assert (values.lost, values.child_ended, set(values.run)) == ({"job": 1}, {"spoiled": 1}, {"gradient"})
    assert (sum(values.run["gradient"].counts), values.run["gradient"].seconds) == (1, 0.5)
