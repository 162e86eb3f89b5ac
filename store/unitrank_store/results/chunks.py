"""Contents in Redis in chunks of 1 MiB, under the sha256 digest of the whole content.

A value of 400 MB stalls other clients for 0.9 s; in chunks it stalls them for 26 ms.

Equal contents are stored once. Each `put` claims the content for an owner and for some seconds. A
content is deleted when no claim is left: each claim has ended or was dropped. Each read verifies
the digest.
"""

from collections.abc import Iterator
from typing import Any

import redis
from redis.client import Pipeline

from unitrank_store.blobs.digests import digest_of, verified
from unitrank_store.errors import Corrupt, RecordNotFound
from unitrank_store.redis import keyspace
from unitrank_store.redis.scripts import LuaScript
from unitrank_tables.sizes import MiB

CHUNK = MiB
"""Bytes of a chunk."""
_CLAIM = LuaScript("unitrank_store.results", "claim_chunks.lua")
_DROP = LuaScript("unitrank_store.results", "drop_chunks.lua")


class ChunkStore:
    """The contents in chunks of one store."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def put(self, data: bytes, seconds: int, *, owner: str) -> str:
        """Store a content for an owner and for some seconds; return its digest.

        If the call raises an error, nothing is kept for the owner.
        """
        digest = digest_of(data)
        try:
            if len(data) <= CHUNK:
                with self._redis.pipeline() as pipeline:
                    self.queue(pipeline, digest, data, seconds, owner=owner)
                    pipeline.execute()
            elif not self._claim(digest, len(data), seconds, owner):
                self._write(digest, data, seconds)
                self._claim(digest, len(data), seconds, owner, complete=True)
        except BaseException:
            self.drop(digest, len(data), owner=owner)
            raise
        return digest

    def queue(self, pipeline: Pipeline, digest: str, data: bytes, seconds: int, *, owner: str) -> None:
        """Queue the commands that store a content of at most one chunk. `digest`: its digest.

        SET gives the chunk the lifetime of this claim. If another claim is longer, the script then
        extends the lifetime.
        """
        if data:
            pipeline.set(keyspace.chunk(digest, 0), data, ex=seconds)
        _run_claim(pipeline, digest, len(data), seconds, owner, complete=True)

    def get(self, digest: str) -> bytes:
        """Return a content. Raises RecordNotFound and Corrupt."""
        return b"".join(self.iterate(digest))

    def iterate(self, digest: str) -> Iterator[bytes]:
        """Return an iterator over the chunks of a content.

        Raises RecordNotFound at the call. The iterator raises Corrupt if a chunk is missing, and
        after the last chunk if the content has another digest.
        """
        stored, complete = self._redis.hmget(keyspace.chunked(digest), ["bytes", "complete"])
        if stored is None or not complete:
            raise RecordNotFound(f"no stored content {digest}; it may have expired")
        return verified(self._chunks(digest, int(stored)), digest)

    def drop(self, digest: str, size: int, *, owner: str) -> None:
        """End an owner's claim.

        Repeating the call changes nothing. `size`: bytes of the content.
        """
        _DROP(self._redis, _keys(digest, size), owner=owner)

    def _claim(self, digest: str, size: int, seconds: int, owner: str, *, complete: bool = False) -> bool:
        """Claim a content, and return whether all its chunks are written."""
        return bool(_run_claim(self._redis, digest, size, seconds, owner, complete=complete))

    def _write(self, digest: str, data: bytes, seconds: int) -> None:
        for index in range(_count(len(data))):
            self._redis.set(keyspace.chunk(digest, index), data[index * CHUNK : (index + 1) * CHUNK], ex=seconds)

    def _chunks(self, digest: str, size: int) -> Iterator[bytes]:
        for index in range(_count(size)):
            chunk = self._redis.get(keyspace.chunk(digest, index))
            if not isinstance(chunk, bytes):
                raise Corrupt(f"chunk {index} of {_count(size)} of the content {digest} is missing")
            yield chunk


def _run_claim(client: redis.Redis, digest: str, size: int, seconds: int, owner: str, *, complete: bool) -> Any:
    """Run the script that claims a content. Its reply is 1 if all chunks are written.

    Any: redis-py does not type a script's reply.
    """
    return _CLAIM(client, _keys(digest, size), owner=owner, seconds=seconds, bytes=str(size), complete=complete)


def _keys(digest: str, size: int) -> list[str]:
    return [
        keyspace.chunked(digest),
        keyspace.chunk_owners(digest),
        *(keyspace.chunk(digest, index) for index in range(_count(size))),
    ]


def _count(size: int) -> int:
    return -(-size // CHUNK)
