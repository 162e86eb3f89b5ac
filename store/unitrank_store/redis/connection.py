"""Connections to the store, blocking and asynchronous, by one address."""

import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.retry import Retry

# Between two tries of a patient connection.
RETRY_SECONDS = 0.25
# Longer than the longest blocking read (a `wait` of 60 s): redis-py's own 5 s would cut it off.
READ_SECONDS = 75.0


def connect(url: str, patience: float | None = None) -> redis.Redis:
    """A client for `redis://`, `rediss://` or `unix://` addresses; nothing is sent before the first command.

    With `patience` a command is sent again for so many seconds while the server is away (perhaps twice: only for
    changes that may be made twice); without, redis-py's three tries within a few seconds.
    """
    if patience is None:
        return redis.Redis.from_url(url, health_check_interval=30)
    retry = Retry(ConstantBackoff(RETRY_SECONDS), max(1, int(patience / RETRY_SECONDS)))
    return redis.Redis.from_url(url, health_check_interval=30, retry=retry)


def connect_briefly(url: str, seconds: float) -> redis.Redis:
    """A client that fails after so many seconds of silence: for whoever only wants to know how it is."""
    return redis.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(ConstantBackoff(RETRY_SECONDS), 1)
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """The asyncio twin of `connect`, for reads that block until something happens."""
    return redis.asyncio.Redis.from_url(url, health_check_interval=30, socket_timeout=READ_SECONDS)
