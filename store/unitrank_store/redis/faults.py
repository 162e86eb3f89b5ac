"""Finds the faults of a Redis server: its kind, its version, its ACL and its configuration."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import redis
import structlog

from unitrank_store.errors import UnsupportedStore
from unitrank_store.redis.decoding import text
from unitrank_store.redis.embedded import MINIMUM_VERSION
from unitrank_store.redis.permissions import MissingPermissions, RecentPermissions, missing_permissions

Severity = Literal["unsupported", "blocking", "warning"]


class StoreFault(NamedTuple):
    """One thing that is wrong with a server.

    `code`: short stable name. `detail`: what is wrong and the next step; it holds no password.
    `severity`: `unsupported`: Unitrank does not start. `blocking`: jobs cannot run.
    `warning`: jobs run, but they may be lost, or something is unknown.
    """

    code: str
    detail: str
    severity: Severity


_KINDS = {
    "cluster": "the server is in cluster mode, which Unitrank does not support; give the address of a server without cluster mode",
    "sentinel": "the server is a Sentinel, which holds no data; give the address of the master, "
    "or of a proxy or a name that always leads to the master",
}
_REPLICA = "the server is a replica, which accepts no writes; its address must lead to the master"
_OLD = "the server is older than Redis 6.2; use Valkey, or Redis 6.2 or newer"
_OPTIONAL_FORBIDDEN = (
    "the ACL forbids {}: the server's free memory, eviction policy and persistence are unknown, and no parts of results are kept"
)


def find_faults(connection: redis.Redis, permissions: RecentPermissions | None = None) -> list[StoreFault]:
    """Return what is wrong with the server. This changes nothing in the store.

    `permissions`: those of a recent search; None searches now.
    Raises the error of a store that does not answer, or that rejects the password.
    """
    try:
        hello = _pairs(connection.execute_command("HELLO"))  # type: ignore[no-untyped-call]  # redis-py's
    except redis.exceptions.ResponseError as error:
        if re.search("unknown command", str(error), re.IGNORECASE):
            return [StoreFault("version", _OLD, "unsupported")]
        raise
    unsupported = list(_unsupported(hello))
    if unsupported:
        return unsupported
    missing = permissions.missing() if permissions else missing_permissions(connection)
    return [*_of_role(hello), *_of_acl(missing), *_of_configuration(connection)]


def report_faults(connection: redis.Redis) -> None:
    """Log what is wrong with the server.

    Raises UnsupportedStore, and the errors of `find_faults`.
    """
    faults = find_faults(connection)
    require_supported(faults)
    log = structlog.get_logger()
    for fault in faults:
        (log.error if fault.severity == "blocking" else log.warning)("store fault", fault=fault.code, detail=fault.detail)


def require_supported(faults: Sequence[StoreFault]) -> None:
    """Raises UnsupportedStore if Unitrank must not start with this server."""
    if details := [fault.detail for fault in faults if fault.severity == "unsupported"]:
        raise UnsupportedStore("; ".join(details))


def _unsupported(hello: dict[str, Any]) -> Iterator[StoreFault]:
    mode, version = text(hello.get("mode", b"")), text(hello.get("version", b""))
    if mode in _KINDS:
        yield StoreFault(mode, _KINDS[mode], "unsupported")
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers and numbers < MINIMUM_VERSION:
        yield StoreFault("version", f"{_OLD} (it is {version})", "unsupported")


def _of_role(hello: dict[str, Any]) -> Iterator[StoreFault]:
    if text(hello.get("role", b"")) in ("replica", "slave"):
        yield StoreFault("replica", _REPLICA, "blocking")


def _of_acl(missing: MissingPermissions) -> Iterator[StoreFault]:
    hint = "`unitrank doctor` prints the ACL that Unitrank needs"
    if missing.commands:
        yield StoreFault("acl", f"the ACL forbids the commands {', '.join(missing.commands)}; {hint}", "blocking")
    if missing.keys:
        yield StoreFault("acl", f"the ACL forbids the keys {', '.join(missing.keys)}; {hint}", "blocking")
    if missing.optional:
        yield StoreFault("acl", f"{_OPTIONAL_FORBIDDEN.format(', '.join(missing.optional))}; {hint}", "warning")


def _of_configuration(connection: redis.Redis) -> Iterator[StoreFault]:
    try:
        # Any: redis-py's types also cover clients that decode replies to text
        info: dict[str, Any] = {**connection.info("memory"), **connection.info("persistence")}
    except redis.exceptions.NoPermissionError:
        return
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        detail = f"the server deletes keys when its memory is full (maxmemory-policy {policy}), and jobs are lost then"
        yield StoreFault("eviction", f"{detail}; set maxmemory-policy noeviction", "warning")
    if not info.get("aof_enabled", 1):
        yield StoreFault("persistence", f"{_persistence(_save(connection))}; set appendonly yes", "warning")


def _save(connection: redis.Redis) -> str | None:
    """Return the server's setting `save`; None if the server does not tell."""
    try:
        reply: Any = connection.config_get("save")
    except redis.exceptions.ResponseError:
        return None
    return str(reply.get("save", ""))


def _persistence(save: str | None) -> str:
    if save == "":
        return "persistence is switched off (appendonly no, no save): all jobs are lost when the server ends"
    return "the server writes no log (appendonly no): the jobs since its last snapshot are lost when it ends"


def _pairs(reply: Any) -> dict[str, Any]:
    """Return the reply as a dict: RESP 2 has a list of names and values, RESP 3 a map."""
    pairs: Sequence[tuple[Any, Any]] = (
        list(reply.items()) if isinstance(reply, dict) else list(zip(reply[::2], reply[1::2], strict=True))
    )
    return {text(name): value for name, value in pairs}
