"""Work that one process of all does: a lock that is held as long as its holder lives, and is free soon after it died."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import LockError, RedisError

SECONDS = 20.0


@contextmanager
def lease(connection: redis.Redis, name: str, seconds: float = SECONDS) -> Iterator[bool]:
    """Whether the block has the lease; it is renewed until the block ends, and goes `seconds` after a process was killed."""
    lock = connection.lock(name, timeout=seconds, thread_local=False, raise_on_release_error=False)
    if not lock.acquire(blocking=False):
        yield False
        return
    over = threading.Event()

    def renew() -> None:
        while not over.wait(seconds / 4):
            try:
                lock.reacquire()
            except (LockError, RedisError):
                # Lost while the store was away: what the block does must bear that another does it too.
                continue

    thread = threading.Thread(target=renew, name=f"lease {name}", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        over.set()
        thread.join()
        lock.release()
