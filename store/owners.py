"""Who needs which blob: models, their cleaned archives, datasets and results; a blob goes with its last owner.

A blob and its owners lie in two systems. So whoever changes either holds one lock, for milliseconds: otherwise bytes
that were uploaded a second time could be deleted between their arrival and their record.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from store import names
from store.blobs import Blobs
from store.errors import Conflict, Unavailable

LEASE = 60.0
PATIENCE = 30.0


class Owners:
    """`claim` and `drop` only inside `changing`; both may be repeated."""

    def __init__(self, connection: redis.Redis, blobs: Blobs) -> None:
        self._redis = connection
        self._blobs = blobs

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes contents or owners meanwhile. Raises Unavailable after 30 s of waiting."""
        lock = self._redis.lock(names.contents_lock(), timeout=LEASE, sleep=0.005, raise_on_release_error=False)
        if not lock.acquire(blocking_timeout=PATIENCE):
            raise Unavailable(f"other changes of models and datasets took more than {PATIENCE:g} s; try again")
        try:
            yield
        finally:
            lock.release()

    def claim(self, digest: str, owner: str) -> None:
        """Raises Conflict where the blob is not there: it was deleted while the same bytes came in."""
        if not self._blobs.exists(digest):
            raise Conflict(f"the content {digest} was deleted while it was uploaded; upload it again")
        self._redis.sadd(names.owners(digest), owner)

    def drop(self, digest: str, owner: str) -> None:
        self._redis.srem(names.owners(digest), owner)
        if not self._redis.exists(names.owners(digest)):
            self._blobs.delete(digest)
