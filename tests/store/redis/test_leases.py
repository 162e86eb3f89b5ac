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
