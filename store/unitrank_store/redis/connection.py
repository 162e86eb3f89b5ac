"""Connections to the store, blocking and asyncio, from one address."""

import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.retry import Retry

RETRY_SECONDS = 0.25
"""Seconds between two tries of a connection with `patience`."""
READ_SECONDS = 75.0
"""Socket timeout: more than the longest blocking read, a `wait` of 60 s. redis-py's own is 5 s."""


def connect(url: str, patience: float | None = None) -> redis.Redis:
    """Return a client for a `redis://`, `rediss://` or `unix://` address.

    The client connects at its first command.

    `patience`: seconds for which a command is retried while the server does not answer. A command
    may then run twice: use it only for changes that may be repeated. None means redis-py's three
    tries within a few seconds.
    """
    if patience is None:
        return redis.Redis.from_url(url, health_check_interval=30)
    retry = Retry(ConstantBackoff(RETRY_SECONDS), max(1, int(patience / RETRY_SECONDS)))
    return redis.Redis.from_url(url, health_check_interval=30, retry=retry)


def connect_briefly(url: str, seconds: float) -> redis.Redis:
    """Return a client for health checks, which fails after `seconds` without an answer."""
    return redis.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(ConstantBackoff(RETRY_SECONDS), 1)
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """Return an asyncio client, for reads that block until an event arrives."""
    return redis.asyncio.Redis.from_url(url, health_check_interval=30, socket_timeout=READ_SECONDS)
