"""The permissions (ACL) that Unitrank needs on the Redis server, and the search for missing ones.

The search sends every command between MULTI and DISCARD. The server then checks the ACL of each
command, and runs none of them.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import redis

from unitrank_store.unavailable import is_forbidden

KEYS = ("unitrank:*", "rq:*")
"""Patterns of the keys: Unitrank's own, and those of RQ."""

# KEY is replaced by a key. Every command has enough words, because the server counts them before it
# checks the ACL.
_PROBES = """
BLMOVE KEY KEY LEFT RIGHT 1
DECR KEY
DEL KEY
EVAL script 1 KEY
EVALSHA digest 1 KEY
EXISTS KEY
EXPIRE KEY 1
EXPIREAT KEY 1
GET KEY
HDEL KEY field
HEXISTS KEY field
HGET KEY field
HGETALL KEY
HINCRBY KEY field 1
HINCRBYFLOAT KEY field 1
HKEYS KEY
HLEN KEY
HMGET KEY field
HSET KEY field value
HSETNX KEY field value
HSTRLEN KEY field
HVALS KEY
INCR KEY
LLEN KEY
LPOP KEY
LPOS KEY element
LPUSH KEY element
LRANGE KEY 0 0
LREM KEY 0 element
MGET KEY
PERSIST KEY
PEXPIRE KEY 1
PING
PTTL KEY
RPUSH KEY element
SADD KEY member
SCARD KEY
SCRIPT LOAD script
SET KEY value
SETRANGE KEY 0 value
SISMEMBER KEY member
SMEMBERS KEY
SREM KEY member
TIME
TYPE KEY
UNLINK KEY
XADD KEY * field value
XREAD STREAMS KEY 0
XREVRANGE KEY + -
ZADD KEY 0 member
ZCARD KEY
ZRANDMEMBER KEY
ZRANGE KEY 0 0
ZRANGEBYLEX KEY - +
ZRANGEBYSCORE KEY 0 0
ZREM KEY member
ZREMRANGEBYSCORE KEY 0 0
ZREVRANGE KEY 0 0
ZREVRANGEBYLEX KEY + -
ZSCORE KEY member
"""
# The server runs these at once, also between MULTI and DISCARD.
_TRANSACTION_PROBES = """
DISCARD
EXEC
WATCH KEY
UNWATCH
"""
_SUBCOMMANDS = frozenset({"SCRIPT"})
"""Commands whose second word is a part of their name."""
PROBE_SECONDS = 5.0
"""Seconds for which `RecentPermissions` remembers a search."""
OPTIONAL = ("INFO",)
"""Commands without which Unitrank works, but cannot tell what is wrong with the server."""


class MissingPermissions(NamedTuple):
    """The parts of an ACL that are missing.

    `commands`: commands that Unitrank needs. `keys`: patterns of keys that Unitrank needs.
    `optional`: forbidden commands of `OPTIONAL`.
    """

    commands: Sequence[str] = ()
    keys: Sequence[str] = ()
    optional: Sequence[str] = ()


def commands() -> list[str]:
    """Return the commands that Unitrank and RQ need, in alphabetical order."""
    return sorted(["MULTI", *map(_name, [*_probes(_PROBES), *_probes(_TRANSACTION_PROBES)])])


def acl_command() -> str:
    """Return the command that creates a user with exactly the permissions that Unitrank uses."""
    allowed = [f"+{name.lower().replace(' ', '|')}" for name in (*commands(), *OPTIONAL)]
    return " ".join(["ACL SETUSER unitrank reset on >PASSWORD", *(f"~{pattern}" for pattern in KEYS), *allowed])


def missing_permissions(connection: redis.Redis) -> MissingPermissions:
    """Return the permissions that the connection's user lacks. This changes nothing in the store.

    If MULTI is forbidden, only MULTI is returned: the server would run the other commands.
    """
    # One connection without retries: after a new connection, commands would run outside of MULTI.
    server: Any = connection.connection_pool.get_connection()
    try:
        if _refusals(server, [["MULTI"]]):
            return MissingPermissions(commands=["MULTI"])
        needed = [*_probes(_PROBES), *_probes(_TRANSACTION_PROBES)]
        on_keys = [words for pattern in KEYS for words in (["GET", _key(pattern)], ["SET", _key(pattern), "value"])]
        refusals = _refusals(server, [*([name] for name in OPTIONAL), *on_keys, *needed])
    finally:
        # This also ends the transaction if DISCARD is forbidden.
        server.disconnect()
        connection.connection_pool.release(server)
    forbidden = {_name(words) for words, error in refusals if "to run the" in error}
    refused_keys = {words[1] for words, error in refusals if words in on_keys and "to run the" not in error}
    return MissingPermissions(
        commands=[name for name in commands() if name in forbidden],
        keys=[pattern for pattern in KEYS if _key(pattern) in refused_keys],
        optional=[name for name in OPTIONAL if name in forbidden],
    )


class RecentPermissions:
    """The permissions that a connection's user lacks, as they were at most 5 s ago.

    Each search opens a connection, and anybody may call `/readyz`. `clock`: returns seconds.
    """

    def __init__(self, connection: redis.Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._missing: tuple[float, MissingPermissions] | None = None

    def missing(self) -> MissingPermissions:
        """Return the missing permissions. Errors are raised, and not remembered."""
        now = self._clock()
        if self._missing is None or now - self._missing[0] >= PROBE_SECONDS:
            self._missing = now, missing_permissions(self._connection)
        return self._missing[1]


def _refusals(server: Any, probes: Sequence[Sequence[str]]) -> list[tuple[Sequence[str], str]]:
    """Send the probes together; return those that the ACL forbids, with the server's error.

    Any: redis-py's connections have no common type.
    """
    server.send_packed_command(server.pack_commands(probes))
    refusals = []
    for words in probes:
        try:
            server.read_response()
        except redis.exceptions.ResponseError as error:
            # Other errors, such as those of a replica or of a full server, are not refusals.
            if is_forbidden(error):
                refusals.append((words, str(error)))
    return refusals


def _probes(lines: str) -> list[list[str]]:
    return [[_key(KEYS[0]) if word == "KEY" else word for word in line.split()] for line in lines.splitlines() if line]


def _key(pattern: str) -> str:
    """Return a key of the pattern, which does not exist."""
    return pattern.replace("*", "no-such-key")


def _name(words: Sequence[str]) -> str:
    return " ".join(words[:2]) if words[0] in _SUBCOMMANDS else words[0]
