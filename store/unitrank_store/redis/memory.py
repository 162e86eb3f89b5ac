"""The memory of the Redis server."""

from typing import NamedTuple

import redis


class ServerMemory(NamedTuple):
    """`used`: used bytes. `limit`: the server's limit in bytes; 0 means no limit."""

    used: int
    limit: int


def memory(connection: redis.Redis) -> ServerMemory | None:
    """Return the server's memory; None if it is unknown, because an ACL forbids `INFO`."""
    try:
        info = connection.info("memory")
    except redis.exceptions.NoPermissionError:
        return None
    return ServerMemory(int(info["used_memory"]), int(info["maxmemory"]))
