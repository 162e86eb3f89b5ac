"""The memory of the Redis server."""

import redis


def memory(connection: redis.Redis) -> tuple[int, int]:
    """Return the used bytes, and the server's limit in bytes; 0 means no limit."""
    info = connection.info("memory")
    return int(info["used_memory"]), int(info["maxmemory"])
