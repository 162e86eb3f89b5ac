"""Results of jobs: a summary and arrays, which are stored for a limited time.

Redis holds the summary and small arrays; the blob store holds large arrays.
"""

import io
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypedDict, cast
from uuid import uuid4

import numpy as np
import redis
from safetensors.numpy import load

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.digests import digest_of, verified
from unitrank_store.blobs.ownership import BlobOwners
from unitrank_store.errors import Full, SizeExceeded
from unitrank_store.full import full_reason
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.redis.memory import RecentMemory
from unitrank_store.results.array_file import ArrayFile
from unitrank_store.results.chunks import CHUNK, ChunkStore
from unitrank_store.results.part_cache import PartCache
from unitrank_store.settings import Settings
from unitrank_tables.result_arrays import Arrays, encode_arrays

ROOM = 0.9
"""Share of the server's memory that results may fill. The rest is for the queue and the records."""
GRACE_SECONDS = 60
"""Seconds that are added to a result's lifetime, because it is written before its record ends."""


class ResultLocation(TypedDict):
    """The location of a stored result, as its job's record holds it.

    `owner`: the name under which the result owns its contents.
    `summary`, `arrays`: digests of the two contents; `summary_bytes`, `arrays_bytes`: their sizes.
    `place`: the store that holds the arrays.
    """

    owner: str
    summary: str
    summary_bytes: int
    arrays: str
    arrays_bytes: int
    place: Literal["redis", "blobs"]


class UnpublishedResult(NamedTuple):
    """A result that is stored, perhaps incompletely, but not yet named by its job's record."""

    job: str
    attempt: int
    location: ResultLocation


class ResultStore:
    """The results of one store."""

    def __init__(self, connection: redis.Redis, blobs: BlobStore, settings: Settings) -> None:
        self._redis = connection
        self._blobs = blobs
        self._settings = settings
        self._seconds = settings.result_ttl + GRACE_SECONDS
        self._chunks = ChunkStore(connection)
        self._owners = BlobOwners(connection, blobs)
        self._parts = PartCache(connection, settings)
        self._memory = RecentMemory(connection)

    def put(self, summary: Json, arrays: Arrays, job: str = "", attempt: int = 0) -> ResultLocation:
        """Encode and store a result, as `put_encoded` does.

        Raises ValueError for an array whose elements are not real numbers.
        """
        return self.put_encoded(summary, encode_arrays(arrays), job, attempt)

    def put_encoded(self, summary: Json, data: bytes, job: str = "", attempt: int = 0) -> ResultLocation:
        """Store a result. If the call raises an error, nothing is stored.

        `data`: the arrays, encoded by `encode_arrays`.
        `job`, `attempt`: the attempt that computed the result. The result is then in `unpublished`
        until `settle` is called. If the process is killed before, garbage collection settles it.
        Raises SizeExceeded, Full, and ValueError for a summary with values that JSON cannot hold.
        """
        text = json.dumps(summary, allow_nan=False, separators=(",", ":")).encode()
        for part, size in (("arrays", len(data)), ("summary", len(text))):
            if size > self._settings.max_result_bytes:
                raise SizeExceeded(
                    f"the result's {part} would take {size} bytes; at most {self._settings.max_result_bytes} are allowed"
                )
        self.require_room(len(text) + self.bytes_in_redis(len(data)))
        in_redis = len(data) <= self._settings.redis_result_bytes
        try:
            return self._stored(text, data, "redis" if in_redis else "blobs", job, attempt)
        except (OSError, redis.exceptions.ResponseError) as error:
            if reason := full_reason(error):
                raise Full(f"{reason}; the same job may succeed later") from error
            raise

    def bytes_in_redis(self, arrays: int) -> int:
        """Return the bytes that arrays of `arrays` bytes take in Redis; 0 if they become a blob."""
        return arrays if arrays <= self._settings.redis_result_bytes else 0

    def require_room(self, size: int) -> None:
        """Make room for `size` bytes.

        Raises Full if the queue would have too little memory left. If the server's memory is
        unknown, only a write shows that it is full.
        """
        if (server := self._memory.read()) is None:
            return
        used, limit = server
        over = used + size - int(ROOM * limit)
        # Cached parts are deleted first: they can be computed again.
        if limit and over > 0 and not self._parts.make_room(over):
            raise Full(
                f"the store has no room for {size} bytes: {used} of {limit} bytes are used, of which results may fill {ROOM:.0%}; "
                "the same job may succeed later"
            )

    def summary(self, location: ResultLocation) -> Json:
        """Return a result's summary. Raises RecordNotFound after its expiry, and Corrupt."""
        # cast: `put_encoded` wrote a JSON object
        return cast(Json, json.loads(self._chunks.get(location["summary"])))

    def summary_bytes(self, location: ResultLocation) -> Iterator[bytes]:
        """Return an iterator over the bytes of the summary, which are JSON.

        Raises RecordNotFound at the call. The iterator raises Corrupt.
        """
        return self._chunks.iterate(location["summary"])

    def summary_file(self, location: ResultLocation) -> BinaryIO:
        """Return the summary as a local file, whose digest is verified. Close the file.

        It is a file beside the blobs, or in memory if it is small. Raises RecordNotFound, Corrupt,
        and OSError if the disk has no room.
        """
        file = io.BytesIO() if location["summary_bytes"] <= CHUNK else self.scratch_file()
        try:
            for chunk in self.summary_bytes(location):
                file.write(chunk)
            return file
        except BaseException:
            file.close()
            raise

    def arrays(self, location: ResultLocation) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Return a result's arrays by name.

        Raises RecordNotFound after their expiry, and Corrupt.
        """
        return load(b"".join(self.arrays_bytes(location)))

    def arrays_bytes(self, location: ResultLocation) -> Iterator[bytes]:
        """Return an iterator over the bytes of the arrays, in safetensors format.

        Raises RecordNotFound at the call. The iterator raises Corrupt.
        """
        digest = location["arrays"]
        if location["place"] == "redis":
            return self._chunks.iterate(digest)
        self._blobs.size(digest)
        return verified(self._blob_bytes(digest), digest)

    def array_file(self, location: ResultLocation) -> ArrayFile:
        """Return the arrays as a local file, whose digest is verified. Close the file.

        Arrays in Redis are copied to an unnamed file beside the blobs: the memory of this process
        holds one chunk of them at a time.
        Raises RecordNotFound, Corrupt, and OSError if the disk has no room.
        """
        file = self._blobs.open_local(location["arrays"]) if location["place"] == "blobs" else self.scratch_file()
        try:
            for chunk in self.arrays_bytes(location):
                if location["place"] == "redis":
                    file.write(chunk)
            file.flush()
            return ArrayFile(file)
        except BaseException:
            file.close()
            raise

    @contextmanager
    def array_path(self, location: ResultLocation) -> Iterator[Path]:
        """Yield the path of a local file with the arrays, whose digest is verified.

        A copy of arrays in Redis is deleted at the end. Raises as `array_file` does.
        """
        if location["place"] == "blobs":
            self.array_file(location).close()
            yield self._blobs.path(location["arrays"])
            return
        self._blobs.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._blobs.spool, prefix="arrays-") as copy:
            for chunk in self.arrays_bytes(location):
                copy.write(chunk)
            copy.flush()
            yield Path(copy.name)

    def scratch_file(self) -> BinaryIO:
        """Return an empty unnamed file beside the blobs. Close the file."""
        self._blobs.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        # cast: the file has the methods of BinaryIO, but another type in typeshed
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._blobs.spool))

    def delete(self, location: ResultLocation) -> None:
        """Delete a result, but not contents that an equal result shares. May be repeated."""
        self._chunks.drop(location["summary"], location["summary_bytes"], owner=location["owner"])
        if location["place"] == "redis":
            self._chunks.drop(location["arrays"], location["arrays_bytes"], owner=location["owner"])
        else:
            self._drop_blob(location["arrays"], location["owner"])

    def settle(self, location: ResultLocation, *, published: bool) -> None:
        """Remove a result from `unpublished`: its job's record names it now, or never will.

        `published`: whether the record names the result; otherwise the result is deleted.
        May be repeated.
        """
        if not published:
            self.delete(location)
        self.queue_settled(self._redis, location)

    def queue_settled(self, client: redis.Redis, location: ResultLocation) -> None:
        """Run or queue the command by which `settle` ends: the job's record names the result."""
        client.hdel(keyspace.unpublished(), location["owner"])

    def unpublished(self) -> list[UnpublishedResult]:
        """Return the results that are stored but not yet settled."""
        # Any: redis-py types no reply
        entries = cast(list[Any], self._redis.hvals(keyspace.unpublished()))
        return [result for entry in entries if (result := _decoded(entry))]

    def sweep(self) -> int:
        """Delete expired arrays in the blob store, and return their number.

        Redis itself deletes expired contents in Redis.
        """
        expired = texts(self._redis.zrangebyscore(keyspace.result_blobs(), "-inf", time.time()))
        for member in expired:
            digest, _, owner = member.partition(" ")
            self._drop_blob(digest, owner)
        return len(expired)

    def _stored(self, text: bytes, data: bytes, place: Literal["redis", "blobs"], job: str, attempt: int) -> ResultLocation:
        location: ResultLocation = {
            "owner": uuid4().hex,
            "summary": digest_of(text),
            "summary_bytes": len(text),
            "arrays": digest_of(data),
            "arrays_bytes": len(data),
            "place": place,
        }
        unpublished = json.dumps(UnpublishedResult(job, attempt, location)) if job else None
        try:
            if place == "redis" and max(len(text), len(data)) <= CHUNK:
                self._put_small(text, data, location, unpublished)
            else:
                self._put_large(text, data, location, unpublished)
        except BaseException:
            self.settle(location, published=False)
            raise
        return location

    def _put_small(self, text: bytes, data: bytes, location: ResultLocation, unpublished: str | None) -> None:
        """Store two contents of at most one chunk, in one transaction and one round trip."""
        owner = location["owner"]
        with self._redis.pipeline() as pipeline:
            if unpublished is not None:
                pipeline.hset(keyspace.unpublished(), owner, unpublished)
            self._chunks.queue(pipeline, location["summary"], text, self._seconds, owner=owner)
            self._chunks.queue(pipeline, location["arrays"], data, self._seconds, owner=owner)
            pipeline.execute()

    def _put_large(self, text: bytes, data: bytes, location: ResultLocation, unpublished: str | None) -> None:
        owner = location["owner"]
        if unpublished is not None:
            self._redis.hset(keyspace.unpublished(), owner, unpublished)
        self._chunks.put(text, self._seconds, owner=owner)
        put = self._chunks.put if location["place"] == "redis" else self._put_blob
        put(data, self._seconds, owner=owner)

    def _put_blob(self, data: bytes, seconds: int, *, owner: str) -> str:
        with self._blobs.writer() as sink:
            sink.write(data)
            # Written before the blob: if this process dies now, `sweep` still deletes the blob.
            self._redis.zadd(keyspace.result_blobs(), {f"{sink.digest} {owner}": time.time() + seconds})
        with self._owners.changing():
            self._owners.claim(sink.digest, owner=f"result:{owner}")
        return sink.digest

    def _drop_blob(self, digest: str, owner: str) -> None:
        with self._owners.changing():
            self._owners.drop(digest, owner=f"result:{owner}")
            self._redis.zrem(keyspace.result_blobs(), f"{digest} {owner}")

    def _blob_bytes(self, digest: str) -> Iterator[bytes]:
        with self._blobs.open(digest) as file:
            while chunk := file.read(CHUNK):
                yield chunk


def _decoded(entry: bytes) -> UnpublishedResult | None:
    """Return the result of a stored entry; None for a malformed entry."""
    try:
        job, attempt, location = json.loads(entry)
        is_valid = isinstance(job, str) and isinstance(attempt, int) and location.keys() == ResultLocation.__annotations__.keys()
        return UnpublishedResult(job, attempt, location) if is_valid else None
    except (ValueError, TypeError, AttributeError):
        return None
