"""The ACL that Unitrank needs, and the search for its missing parts, on a real server."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.servers.redis_server import with_user
from unitrank_store.redis.connection import connect
from unitrank_store.redis.permissions import (
    KEYS,
    OPTIONAL,
    PROBE_SECONDS,
    MissingPermissions,
    RecentPermissions,
    acl_command,
    commands,
    missing_permissions,
)

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
RULES = acl_command().partition(">PASSWORD ")[2]


@pytest.fixture
def user(connection: redis.Redis, redis_url: str) -> Iterator[redis.Redis]:
    """A client whose user has exactly the permissions of `acl_command`."""
    with connect(with_user(redis_url, connection, RULES)) as client:
        yield client
    connection.acl_deluser("unitrank")


def change(connection: redis.Redis, rules: str) -> None:
    connection.execute_command("ACL", "SETUSER", "unitrank", *rules.split())  # type: ignore[no-untyped-call]


def test_acl_when_complete_then_nothing_is_missing(user: redis.Redis) -> None:
    assert missing_permissions(user) == MissingPermissions([], [], [])


@pytest.mark.parametrize("name", commands())
def test_acl_without_a_command_then_names_it_alone(connection: redis.Redis, user: redis.Redis, name: str) -> None:
    change(connection, f"-{name.lower().replace(' ', '|')}")

    assert list(missing_permissions(user).commands) == [name]


@pytest.mark.parametrize("name", OPTIONAL)
def test_acl_without_an_optional_command_then_names_it_apart(connection: redis.Redis, user: redis.Redis, name: str) -> None:
    change(connection, f"-{name.lower()}")

    assert missing_permissions(user) == MissingPermissions([], [], [name])


@pytest.mark.parametrize("pattern", KEYS)
def test_acl_without_a_pattern_of_keys_then_names_it(connection: redis.Redis, user: redis.Redis, pattern: str) -> None:
    others = " ".join(f"~{each}" for each in KEYS if each != pattern)
    change(connection, f"resetkeys {others}")

    assert missing_permissions(user) == MissingPermissions([], [pattern], [])


def test_permissions_when_searched_again_within_seconds_then_are_remembered(connection: redis.Redis, user: redis.Redis) -> None:
    times = iter([0.0, PROBE_SECONDS - 1, PROBE_SECONDS])
    permissions = RecentPermissions(user, lambda: next(times))
    before = permissions.missing()
    change(connection, "-get")

    assert permissions.missing() is before
    assert list(permissions.missing().commands) == ["GET"]


def test_acl_without_dangerous_commands_then_only_information_is_missing(connection: redis.Redis, user: redis.Redis) -> None:
    change(connection, "+@all -@dangerous")

    assert missing_permissions(user) == MissingPermissions([], [], ["INFO"])


def test_search_when_everything_is_allowed_then_changes_no_key(connection: redis.Redis) -> None:
    for name in ("unitrank:no-such-key", "rq:no-such-key"):
        connection.set(name, "7")
    missing_permissions(connection)

    assert {key: connection.get(key) for key in connection.scan_iter()} == {b"unitrank:no-such-key": b"7", b"rq:no-such-key": b"7"}


@pytest.mark.parametrize("name", ["MULTI", "DISCARD", "EXEC"])
def test_search_without_transactions_then_still_changes_no_key(connection: redis.Redis, user: redis.Redis, name: str) -> None:
    change(connection, f"-{name.lower()}")
    missing_permissions(user)

    assert connection.dbsize() == 0
    # The connection of the search is not reused: a command on it would be queued.
    assert user.get("unitrank:x") is None


def test_documentation_when_compared_then_has_the_same_acl() -> None:
    page = OPERATIONS.read_text(encoding="utf-8")
    command = page[page.index("redis-cli ACL SETUSER") :].partition("\n```")[0]

    # As a shell splits the command: `>`, `~`, `*` and `|` are quoted.
    assert shlex.split(command.replace("\\\n", "")) == ["redis-cli", *acl_command().split()]
    assert not set(re.sub("'[^']*'", "", command)) & set("<>|~*?&;$")
