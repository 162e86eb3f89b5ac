"""Connections to the store, blocking and asynchronous, by one address."""

import redis
import redis.asyncio


def connect(url: str) -> redis.Redis:
    """A client for `redis://`, `rediss://` or `unix://` addresses; nothing is sent before the first command."""
    return redis.Redis.from_url(url, health_check_interval=30)


def connect_async(url: str) -> redis.asyncio.Redis:
    """The asyncio twin of `connect`."""
    return redis.asyncio.Redis.from_url(url, health_check_interval=30)
