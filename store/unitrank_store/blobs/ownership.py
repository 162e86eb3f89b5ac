"""Who needs which blob: models, their cleaned archives, datasets and results; a blob goes with its last owner.

A blob and its owners lie in two systems. So whoever changes either holds one lock, for milliseconds: otherwise bytes
that were uploaded a second time could be deleted between their arrival and their record.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import Full, RecordNotFound, StateConflict, Unavailable
from unitrank_store.redis import keyspace

LEASE = 60.0
PATIENCE = 30.0


class BlobOwners:
    """`claim` and `drop` only inside `changing`; both may be repeated."""

    def __init__(self, connection: redis.Redis, blobs: BlobStore) -> None:
        self._redis = connection
        self._blobs = blobs

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes contents or owners meanwhile. Raises Unavailable after 30 s of waiting."""
        lock = self._redis.lock(keyspace.contents_lock(), timeout=LEASE, sleep=0.005, raise_on_release_error=False)
        if not lock.acquire(blocking_timeout=PATIENCE):
            raise Unavailable(f"other changes of models and datasets took more than {PATIENCE:g} s; try again")
        try:
            yield
        finally:
            lock.release()

    def claim(self, digest: str, *, owner: str) -> None:
        """Raises StateConflict where the blob is not there: it was deleted while the same bytes came in."""
        try:
            size = self._blobs.size(digest)
        except RecordNotFound as error:
            raise StateConflict(f"the content {digest} was deleted while it was uploaded; upload it again") from error
        with self._redis.pipeline() as pipeline:
            pipeline.sadd(keyspace.owners(digest), owner)
            pipeline.hset(keyspace.blob_sizes(), digest, size)
            pipeline.execute()

    def admit(self, digest: str, *, owner: str) -> None:
        """As `claim`, for what a client brings. Raises Full where new bytes are more than the quota; the blob then goes."""
        owned = self._redis.exists(keyspace.owners(digest))
        self.claim(digest, owner=owner)
        if not owned and self._blobs.quota is not None and self.stored() > self._blobs.quota:
            self.drop(digest, owner=owner)
            raise Full(_over(self._blobs.quota))

    def room(self) -> int | None:
        """The bytes that may still come; None where there is no quota. Raises Full where there is no room at all."""
        if self._blobs.quota is None:
            return None
        left = self._blobs.quota - self.stored()
        if left <= 0:
            raise Full(_over(self._blobs.quota))
        return left

    def stored(self) -> int:
        """The bytes of all blobs that have owners."""
        # Any: redis-py types no reply
        return sum(map(int, cast(list[Any], self._redis.hvals(keyspace.blob_sizes()))))

    def drop(self, digest: str, *, owner: str) -> None:
        """A blob without owners goes."""
        self._redis.srem(keyspace.owners(digest), owner)
        if not self._redis.exists(keyspace.owners(digest)):
            self._blobs.delete(digest)
            self._redis.hdel(keyspace.blob_sizes(), digest)

    def forget_unowned(self) -> int:
        """Delete old blobs that nobody owns: a process was killed between their arrival and their record; how many."""
        deleted = 0
        for digest in self._blobs.aged():
            if not self._redis.exists(keyspace.owners(digest)):
                with self.changing():
                    self.drop(digest, owner="")
                deleted += 1
        return deleted


def _over(quota: int) -> str:
    return f"models, datasets and results may take {quota} bytes together; delete some that are not needed"
