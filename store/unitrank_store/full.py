"""Recognises a full store: a disk or the server's memory has no room.

The Redis server answers `OOM` when its memory is full, and `MISCONF` when it cannot write its log
or its snapshot. Python raises an OSError when a disk or the user's disk quota is full.
"""

import errno
import os
from pathlib import Path

import redis

from unitrank_store.errors import Full
from unitrank_store.redis import keyspace
from unitrank_store.unavailable import unavailable_reason
from unitrank_tables.sizes import MiB

FREE_BYTES = MiB
"""Bytes that the disk of the blobs must have free, or else nothing can be uploaded."""
_DISK = {errno.ENOSPC, errno.EDQUOT}


def full_reason(error: BaseException) -> str | None:
    """Return the reason if the error means that the store is full, else None."""
    if isinstance(error, Full):
        return str(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        return "the disk of the blobs has no room"
    if isinstance(error, redis.exceptions.ResponseError):
        if "MISCONF" in str(error):
            return "its server cannot write to its disk"
        # In the error of a script, other text precedes `OOM`: redis-py then raises no
        # OutOfMemoryError.
        if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM command not allowed" in str(error):
            return "its server's memory has no room"
    return None


def wait_reason(error: BaseException) -> str | None:
    """Return why a command must wait: the store cannot serve now, or it is full. Else None.

    The reason continues a sentence that begins with "the store". Only errors of the store's server
    have a reason.
    """
    if not isinstance(error, redis.exceptions.RedisError):
        return None
    reason = full_reason(error)
    return f"is full: {reason}" if reason else unavailable_reason(error)


def require_writable(connection: redis.Redis, folder: Path) -> None:
    """Check that the server accepts writes, and that the disk of `folder` has room. Raises Full."""
    try:
        # Writing an empty text changes nothing, but a full server rejects this write too.
        connection.setrange(keyspace.contents_lock(), 0, "")
    except redis.exceptions.ResponseError as error:
        if reason := full_reason(error):
            raise Full(reason) from error
        raise
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < FREE_BYTES:
        raise Full(f"the disk of the blobs has less than {FREE_BYTES} bytes free")
