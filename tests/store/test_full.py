"""Errors that mean that the store is full, and the check that it is not."""

import errno
from pathlib import Path

import pytest
import redis

from unitrank_store import full
from unitrank_store.errors import Full
from unitrank_store.full import full_reason, require_writable, wait_reason


@pytest.mark.parametrize(
    "error",
    [
        Full("the quota has no room"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.exceptions.ResponseError("ERR OOM command not allowed when used memory > 'maxmemory'. script: 1"),
        redis.exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        redis.exceptions.ExecAbortError("Transaction discarded because of: MISCONF Errors writing to the AOF file"),
    ],
)
def test_error_of_a_full_store_has_a_reason(error: Exception) -> None:
    assert full_reason(error)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no"), redis.exceptions.ResponseError("WRONGTYPE"), ValueError("OOM")])
def test_error_of_another_kind_has_no_reason(error: Exception) -> None:
    assert full_reason(error) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (redis.exceptions.ResponseError("MISCONF Errors writing"), "is full: its server cannot write to its disk"),
        (redis.exceptions.OutOfMemoryError("command not allowed"), "is full: its server's memory has no room"),
        (redis.exceptions.ReadOnlyError("You can't write"), "is a replica"),
        (redis.exceptions.ResponseError("WRONGTYPE"), None),
        (Full("the quota has no room"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
    ],
)
def test_command_waits_for_a_full_or_unavailable_server_only(error: Exception, reason: str | None) -> None:
    got = wait_reason(error)

    assert got is None if reason is None else (got or "").startswith(reason)


def test_store_with_room_is_writable_and_is_not_changed(connection: redis.Redis, tmp_path: Path) -> None:
    require_writable(connection, tmp_path / "spool")

    assert connection.dbsize() == 0


def test_store_whose_disk_has_no_room_is_full(connection: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "FREE_BYTES", 2**62)

    with pytest.raises(Full, match="disk"):
        require_writable(connection, tmp_path)
