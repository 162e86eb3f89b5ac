"""The fair order: owners take turns, and priorities order the jobs of one owner."""

import random

import pytest
import redis

from unitrank_store.queue.fair_order import PRIORITIES, Waiting, before, feed, in_line, leave, line_up, queue_places
from unitrank_store.redis import keyspace

QUEUE = "q"


def wait(connection: redis.Redis, owner: str, *ids: str, priority: str = "normal") -> None:
    for id in ids:
        line_up(connection, QUEUE, Waiting(owner, priority), id)


def take(connection: redis.Redis) -> str | None:
    """Take the next id as an idle worker does, and move the following id into the queue."""
    id = connection.lpop(keyspace.rq_queue(QUEUE))
    feed(connection, QUEUE)
    return id.decode() if isinstance(id, bytes) else None


def take_all(connection: redis.Redis) -> list[str]:
    ids = []
    while (id := take(connection)) is not None:
        ids.append(id)
    return ids


def test_turns_when_one_owner_floods_then_another_waits_for_one_job(connection: redis.Redis) -> None:
    wait(connection, "flood", *(f"f{number}" for number in range(1000)))
    assert take(connection) == "f0"
    wait(connection, "other", "o0", "o1")

    assert [take(connection) for _ in range(5)] == ["o0", "f1", "o1", "f2", "f3"]


def test_turns_when_an_owner_adds_jobs_while_its_first_one_runs_then_another_has_the_next_turn(connection: redis.Redis) -> None:
    wait(connection, "flood", "f0")
    assert take(connection) == "f0"
    wait(connection, "flood", "f1", "f2")
    wait(connection, "other", "o0")

    assert take_all(connection) == ["o0", "f1", "f2"]


def test_turns_when_owners_wait_then_each_owner_has_one_job_in_every_round(connection: redis.Redis) -> None:
    for owner, count in {"a": 3, "b": 1, "c": 2}.items():
        wait(connection, owner, *(f"{owner}{number}" for number in range(count)))

    assert take_all(connection) == ["a0", "b0", "c0", "a1", "c1", "a2"]


def test_turns_when_all_jobs_of_an_owner_are_urgent_then_other_owners_keep_their_turns(connection: redis.Redis) -> None:
    wait(connection, "a", "a0", "a1", "a2", priority="high")
    wait(connection, "b", "b0", priority="low")

    assert take_all(connection) == ["a0", "b0", "a1", "a2"]


def test_turns_when_an_owner_has_priorities_then_the_highest_goes_first(connection: redis.Redis) -> None:
    for priority in reversed(PRIORITIES):
        wait(connection, "a", f"{priority}0", f"{priority}1", priority=priority)

    assert take_all(connection) == ["high0", "high1", "normal0", "normal1", "low0", "low1"]


def test_turns_when_an_owner_comes_back_then_comes_after_owners_that_waited(connection: redis.Redis) -> None:
    wait(connection, "a", "a0")
    assert take(connection) == "a0"
    wait(connection, "b", "b0")
    wait(connection, "a", "a1")

    assert take_all(connection) == ["b0", "a1"]


def test_line_when_its_last_id_leaves_then_is_deleted(connection: redis.Redis) -> None:
    wait(connection, "a", "a0", "a1")
    leave(connection.pipeline(), QUEUE, Waiting("a", "normal"), "a1")
    with connection.pipeline() as pipeline:
        leave(pipeline, QUEUE, Waiting("a", "normal"), "a1")
        pipeline.execute()

    assert take_all(connection) == ["a0"]
    assert in_line(connection, QUEUE) == []
    assert connection.zcard(keyspace.owners_in_line(QUEUE)) == 0


def test_feed_when_a_worker_died_before_it_then_moves_the_next_id(connection: redis.Redis) -> None:
    wait(connection, "a", "a0", "a1")
    connection.lpop(keyspace.rq_queue(QUEUE))
    feed(connection, QUEUE)

    assert take_all(connection) == ["a1"]


@pytest.mark.parametrize("seed", range(20))
def test_before_when_many_jobs_wait_then_predicts_their_order(connection: redis.Redis, seed: int) -> None:
    generator = random.Random(seed)
    waiting: dict[str, Waiting] = {}
    for number in range(60):
        if generator.random() < 0.2:
            id = take(connection)
            waiting.pop(id or "", None)
        id = f"id{number}"
        waiting[id] = Waiting(f"owner{generator.randrange(4)}", generator.choice(PRIORITIES))
        line_up(connection, QUEUE, waiting[id], id)
    ahead = connection.llen(keyspace.rq_queue(QUEUE))
    with connection.pipeline() as pipeline:
        queue_places(pipeline, QUEUE, waiting)
        expected = before(connection, QUEUE, waiting, pipeline.execute())

    order = take_all(connection)
    assert sorted(order) == sorted(waiting)
    assert len(expected) == len(waiting) - ahead
    for id in waiting:
        assert (expected[id] + ahead if id in expected else 0) == order.index(id), id
