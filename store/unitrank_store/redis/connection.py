"""Connections to the store, blocking and asyncio, from one address.

Options in the address, such as `?ssl_ca_certs=FILE`, are those of redis-py. The timeouts of health
checks and of blocking reads are fixed: options do not change them.
"""

import os
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import ConstantBackoff
from redis.retry import Retry

RETRY_SECONDS = 0.25
"""Seconds between two tries of a connection with `patience`."""
READ_SECONDS = 75.0
"""Socket timeout: more than the longest blocking read, a `wait` of 60 s. redis-py's own is 5 s."""
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
"""Options that name a file or a folder."""


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
    client = redis.Redis.from_url(url, retry=Retry(ConstantBackoff(RETRY_SECONDS), 1))
    client.connection_pool.connection_kwargs |= {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    return client


def connect_async(url: str) -> redis.asyncio.Redis:
    """Return an asyncio client, for reads that block until an event arrives."""
    client = redis.asyncio.Redis.from_url(url, health_check_interval=30)
    client.connection_pool.connection_kwargs |= {"socket_timeout": READ_SECONDS}
    return client


def check_address(url: str) -> None:
    """Check the scheme, the options and the files that an address names; connects to nothing.

    Raises ValueError. Its message holds no part of the address that may be a password.
    """
    scheme = urlsplit(url).scheme
    if "sentinel" in scheme or "cluster" in scheme:
        raise ValueError(
            f"{scheme}:// is not supported: Unitrank asks no Sentinel or cluster for the master; give the redis:// or "
            "rediss:// address of one server, or of a proxy or a name that always leads to the master"
        )
    try:
        pool = connect(url).connection_pool
        pool.make_connection()
    except (ValueError, TypeError, redis.exceptions.RedisError):
        # The message omits the parser's error, which may contain the password.
        raise ValueError(
            "not a valid address of a store: expected an address such as redis://:password@host:6379/0, "
            "with options that docs/operations.md lists; in a password write / as %2F and # as %23"
        ) from None
    options = pool.connection_kwargs
    if options.get("decode_responses"):
        raise ValueError("the option decode_responses is not possible: results are bytes, not text; remove the option")
    for name in _FILES:
        if name in options and not os.access(options[name], os.R_OK):
            raise ValueError(f"{name} names a file that cannot be read: {options[name]}")
