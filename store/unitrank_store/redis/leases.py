"""Leases: locks for work that only one process may do. A lease of a killed process expires soon."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import LockError, RedisError

SECONDS = 20.0
"""Seconds after which the lease of a killed process expires."""


LOOK_SECONDS = 0.005
"""Seconds between two looks of a process that waits for a lease."""


@contextmanager
def lease(connection: redis.Redis, name: str, seconds: float = SECONDS, *, patience: float = 0.0) -> Iterator[bool]:
    """Take the lease `name` for a block, and yield whether it was free.

    A thread renews the lease until the block ends. If the process is killed, the lease expires
    after `seconds`. `patience`: seconds to wait until the lease is free.
    """
    lock = connection.lock(name, timeout=seconds, sleep=LOOK_SECONDS, thread_local=False, raise_on_release_error=False)
    if not lock.acquire(blocking=patience > 0, blocking_timeout=patience or None):
        yield False
        return
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(seconds / 4):
            try:
                lock.reacquire()
            except (LockError, RedisError):
                # The store did not answer, and the lease may have expired. Another process may then
                # do the same work at the same time: the block's work must allow this.
                continue

    thread = threading.Thread(target=renew, name=f"lease {name}", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        ended.set()
        thread.join()
        lock.release()
