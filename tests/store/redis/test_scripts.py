"""Lua scripts take keys and one JSON object, whether the server knows them or not."""

import pytest
import redis

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.reservations import reserved
from unitrank_store.redis.scripts import LuaScript

ECHO = LuaScript("tests.store.redis", "echo.lua")


@pytest.mark.parametrize(("number", "text"), [(0, b"0"), (33_554_432, b"33554432"), (10**15, b"1000000000000000"), (1.5, b"1.5")])
def test_script_when_called_then_gets_keys_and_arguments(connection: redis.Redis, number: float, text: bytes) -> None:
    reply = ECHO(connection, ["key"], absent=None, list=[], number=number)

    assert reply == [b"key", b"nil", b"table", 0, text]


def test_script_when_the_server_has_forgotten_it_then_is_sent_again(connection: redis.Redis) -> None:
    replies = []
    for _ in range(2):
        connection.script_flush()
        replies.append(ECHO(connection, ["key"], list=["a"], number=1))

    assert replies == [[b"key", b"nil", b"table", 1, b"1"]] * 2


def test_script_when_queued_on_a_pipeline_then_runs_with_it(connection: redis.Redis) -> None:
    with connection.pipeline() as pipeline:
        assert ECHO(pipeline, ["key"], list=[], number=2) is None
        assert not connection.exists("key")
        replies = pipeline.execute()

    assert replies == [[b"key", b"nil", b"table", 0, b"2"]]


def test_numbers_when_they_are_large_then_are_stored_digit_by_digit(connection: redis.Redis) -> None:
    jobs = JobStore(connection)
    large = jobs.create({}, reserves=10**15 - 1)
    assert reserved(connection) == 10**15 - 1
    jobs.start(large.id, "w")
    jobs.progress(large.id, 1, {"done": 10**15, "total": 2**53, "seconds": 0.1})

    assert jobs.get(large.id).progress == {"done": 10**15, "total": 2**53, "seconds": 0.1}


@pytest.mark.parametrize("text", ["", "naïve – 日本 🙂", 'quotes " and \\ and \n', "\x00", "\ud800", "[]", "{}"])
def test_text_when_it_is_odd_then_comes_back_as_it_was(connection: redis.Redis, text: str) -> None:
    jobs = JobStore(connection)
    id = jobs.create({}).id
    jobs.start(id, "w")
    assert jobs.finish(id, 1, "failed", problem={"detail": text, "empty": [], "none": None})

    assert jobs.get(id).problem == {"detail": text, "empty": [], "none": None}
