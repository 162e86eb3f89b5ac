"""The owners of blobs: models, cleaned archives, datasets and results.

A blob is deleted when its last owner drops it.

Blobs and owners are stored in two systems, the blob store and Redis. So each change of either holds
one lock, for milliseconds. Without it, bytes that are uploaded again could be deleted after their
upload and before their record is written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import Full, RecordNotFound, StateConflict, Unavailable
from unitrank_store.redis import keyspace
from unitrank_store.redis.leases import lease

PATIENCE = 30.0
"""Seconds for which a process waits for the lock. More than the lease of a killed process lasts."""


class BlobOwners:
    """The owners of all blobs.

    Call `claim`, `admit` and `drop` only inside a block of `changing`. All three may be repeated.
    """

    def __init__(self, connection: redis.Redis, blobs: BlobStore) -> None:
        self._redis = connection
        self._blobs = blobs

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock: no other process changes contents or owners during the block.

        Raises Unavailable if the lock is not free within 30 s.
        """
        with lease(self._redis, keyspace.contents_lock(), patience=PATIENCE) as has_lease:
            if not has_lease:
                raise Unavailable(f"other changes of models and datasets took more than {PATIENCE:g} s; send the request again")
            yield

    def claim(self, digest: str, *, owner: str) -> None:
        """Add an owner to a blob.

        Raises StateConflict if the blob does not exist: it was deleted during this upload.
        """
        try:
            size = self._blobs.size(digest)
        except RecordNotFound as error:
            raise StateConflict(f"the content {digest} was deleted during its upload; upload it again") from error
        with self._redis.pipeline() as pipeline:
            pipeline.sadd(keyspace.owners(digest), owner)
            pipeline.hset(keyspace.blob_sizes(), digest, size)
            pipeline.execute()

    def admit(self, digest: str, *, owner: str) -> None:
        """Add an owner to a blob that a client has uploaded.

        Raises StateConflict as `claim` does. Raises Full if the blob exceeds the quota: the blob is
        deleted then, unless it had other owners before.
        """
        has_owners = self._redis.exists(keyspace.owners(digest))
        self.claim(digest, owner=owner)
        if not has_owners and self._blobs.quota is not None and self.stored() > self._blobs.quota:
            self.drop(digest, owner=owner)
            raise Full(_quota_message(self._blobs.quota))

    def room(self) -> int | None:
        """Return the bytes of the quota that are free; None without a quota.

        Raises Full for 0 bytes.
        """
        if self._blobs.quota is None:
            return None
        free = self._blobs.quota - self.stored()
        if free <= 0:
            raise Full(_quota_message(self._blobs.quota))
        return free

    def stored(self) -> int:
        """Return the bytes of all blobs that have an owner."""
        # Any: redis-py types no reply
        return sum(map(int, cast(list[Any], self._redis.hvals(keyspace.blob_sizes()))))

    def drop(self, digest: str, *, owner: str) -> None:
        """Remove an owner from a blob, and delete the blob if it has no other owner."""
        self._redis.srem(keyspace.owners(digest), owner)
        if not self._redis.exists(keyspace.owners(digest)):
            self._blobs.delete(digest)
            self._redis.hdel(keyspace.blob_sizes(), digest)

    def forget_unowned(self) -> int:
        """Delete blobs that are a day old and have no owner, and return their number.

        The process that stored such a blob was killed before it added the owner.
        """
        deleted = 0
        for digest in self._blobs.aged():
            if not self._redis.exists(keyspace.owners(digest)):
                with self.changing():
                    self.drop(digest, owner="")
                deleted += 1
        return deleted


def _quota_message(quota: int) -> str:
    return f"models, datasets and results take more than the quota of {quota} bytes; delete some that you do not need"
