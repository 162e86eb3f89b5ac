"""How full the server is."""

import redis


def memory(connection: redis.Redis) -> tuple[int, int]:
    """The bytes that are used, and the most that may be: 0 where the server has no limit."""
    info = connection.info("memory")
    return int(info["used_memory"]), int(info["maxmemory"])
