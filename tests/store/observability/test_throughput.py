"""The throughput of devices: a moving average of measurements."""

import pytest
import redis

from unitrank_store.observability.throughput import REUSE_SECONDS, WEIGHT, Throughput


def test_rate_when_nothing_was_measured_then_none(connection: redis.Redis) -> None:
    assert Throughput(connection).rate() is None
    assert Throughput(connection).rate("cpu") is None


def test_rate_when_measured_then_moves_towards_the_new_speed(connection: redis.Redis) -> None:
    rates = Throughput(connection)
    rates.note("cpu", 100.0, 1.0)
    rates.note("cpu", 400.0, 2.0)

    assert rates.rate("cpu") == pytest.approx(100 + WEIGHT * 100)


def test_rate_when_no_device_is_named_then_the_fastest(connection: redis.Redis) -> None:
    rates = Throughput(connection)
    rates.note("cpu", 1.0, 1.0)
    rates.note("cuda:0", 50.0, 1.0)

    assert rates.rate() == 50.0


def test_fastest_rate_when_another_process_measures_then_is_read_again_after_its_time(connection: redis.Redis) -> None:
    now = 0.0
    rates = Throughput(connection, lambda: now)
    Throughput(connection).note("cpu", 1.0, 1.0)
    first = rates.rate()
    Throughput(connection).note("cuda:0", 50.0, 1.0)
    early = rates.rate()
    now = REUSE_SECONDS

    assert (first, early, rates.rate()) == (1.0, 1.0, 50.0)


def test_measurement_without_work_or_time_is_ignored(connection: redis.Redis) -> None:
    rates = Throughput(connection)
    rates.note("cpu", 0.0, 1.0)
    rates.note("cpu", 1.0, 0.0)

    assert rates.rate() is None
