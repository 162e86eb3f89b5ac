"""Leases: one process at a time does the work, and the next one can when it is done."""

import threading

import pytest
import redis

from unitrank_store.redis.leases import lease


def test_lease_when_held_then_no_other_block_has_it(connection: redis.Redis) -> None:
    with lease(connection, "work") as first, lease(connection, "work") as second, lease(connection, "other") as third:
        assert (first, second, third) == (True, False, True)
    with lease(connection, "work") as fourth:
        assert fourth


def test_lease_when_its_block_raises_then_is_free(connection: redis.Redis) -> None:
    with pytest.raises(ValueError, match="broken"), lease(connection, "work"):
        raise ValueError("broken")

    assert not connection.exists("work")


def test_lease_when_its_block_is_longer_than_its_seconds_then_is_renewed(connection: redis.Redis) -> None:
    renewed = threading.Event()

    def watch() -> None:
        lowest = connection.pttl("work")
        while not renewed.is_set():
            milliseconds = connection.pttl("work")
            if milliseconds > lowest:
                renewed.set()
            lowest = min(lowest, milliseconds)

    with lease(connection, "work", seconds=2):
        threading.Thread(target=watch, daemon=True).start()
        assert renewed.wait(20)


def test_lease_when_its_holder_was_killed_then_expires(connection: redis.Redis) -> None:
    with lease(connection, "work", seconds=20):
        assert 0 < connection.pttl("work") <= 20_000


def test_lease_when_its_holder_was_killed_then_the_next_one_waits_for_its_end(connection: redis.Redis) -> None:
    connection.set("work", "of a killed process", px=200)
    with lease(connection, "work") as impatient:
        assert not impatient
    with lease(connection, "work", patience=20) as patient:
        assert patient


def test_lease_when_not_free_in_time_then_is_not_taken(connection: redis.Redis) -> None:
    connection.set("work", "of another process")
    with lease(connection, "work", patience=0.05) as has_lease:
        assert not has_lease

    assert connection.get("work") == b"of another process"
