"""Results of jobs: a summary and arrays, in Redis up to a limit, above it in the blob store, both for a limited time."""

import json
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypedDict, cast
from uuid import uuid4

import numpy as np
import redis
from redis.exceptions import OutOfMemoryError
from safetensors.numpy import load

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.digests import digest_of, verified
from unitrank_store.blobs.ownership import BlobOwners
from unitrank_store.errors import Full, SizeExceeded
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.redis.memory import memory
from unitrank_store.results.chunks import CHUNK, ChunkStore
from unitrank_store.results.part_cache import PartCache
from unitrank_store.settings import Settings
from unitrank_tables.result_arrays import Arrays, encode_arrays

# Of the server's memory; the rest is for the queue and the records.
ROOM = 0.9
# A result is written before its job's record begins to count its time.
GRACE_SECONDS = 60


class ResultLocation(TypedDict):
    """Where a result lies, as its job's record holds it. Sizes are bytes."""

    owner: str
    summary: str
    summary_bytes: int
    arrays: str
    arrays_bytes: int
    place: Literal["redis", "blobs"]


class UnpublishedResult(NamedTuple):
    """A result that is stored, wholly or in part, for an attempt at a job whose end nobody has been told."""

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

    def put(self, summary: Json, arrays: Arrays, job: str = "", attempt: int = 0) -> ResultLocation:
        """As `put_encoded`; arrays as they were computed. Raises ValueError for arrays that are not numbers."""
        return self.put_encoded(summary, encode_arrays(arrays), job, attempt)

    def put_encoded(self, summary: Json, data: bytes, job: str = "", attempt: int = 0) -> ResultLocation:
        """Store a result whose arrays are `data`, as `encode_arrays` writes them. When it raises, nothing is left.

        With the job whose attempt it belongs to, it is in `unpublished` until `settle`: a process can be killed in between.
        Raises SizeExceeded, Full, and ValueError for a summary that holds what JSON cannot.
        """
        text = json.dumps(summary, allow_nan=False, separators=(",", ":")).encode()
        for part, size in (("arrays", len(data)), ("summary", len(text))):
            if size > self._settings.max_result_bytes:
                raise SizeExceeded(f"the {part} would take {size} bytes; at most {self._settings.max_result_bytes} are allowed")
        self.require_room(len(text) + self.here(len(data)))
        in_redis = len(data) <= self._settings.redis_result_bytes
        try:
            return self._stored(text, data, "redis" if in_redis else "blobs", job, attempt)
        except OutOfMemoryError as error:
            raise Full("the server's memory is full; the same job may succeed later") from error

    def here(self, arrays: int) -> int:
        """How many bytes of arrays of that size lie in the store, rather than among the blobs."""
        return arrays if arrays <= self._settings.redis_result_bytes else 0

    def require_room(self, size: int) -> None:
        """Raises Full where so many bytes more would leave the queue too little memory."""
        used, limit = memory(self._redis)
        over = used + size - int(ROOM * limit)
        # what was only kept in case it is of use goes first
        if limit and over > 0 and not self._parts.make_way(over):
            raise Full(f"no room for {size} bytes: {used} of {limit} are used, and {ROOM:.0%} may be")

    def summary(self, location: ResultLocation) -> Json:
        """Raises RecordNotFound once it has expired, and Corrupt."""
        # Any: what is in a summary is the worker's business
        return cast(Json, json.loads(self._chunks.get(location["summary"])))

    def arrays(self, location: ResultLocation) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Raises RecordNotFound once they have expired, and Corrupt."""
        return load(b"".join(self.arrays_bytes(location)))

    def arrays_bytes(self, location: ResultLocation) -> Iterator[bytes]:
        """The arrays as safetensors, `arrays_bytes` of them. Raises RecordNotFound at once, and Corrupt on the way."""
        digest = location["arrays"]
        if location["place"] == "redis":
            return self._chunks.iterate(digest)
        self._blobs.size(digest)
        return verified(self._blob_bytes(digest), digest)

    def delete(self, location: ResultLocation) -> None:
        """Nothing of it is left, but for what an equal result shares. May be repeated."""
        self._chunks.drop(location["summary"], location["summary_bytes"], owner=location["owner"])
        if location["place"] == "redis":
            self._chunks.drop(location["arrays"], location["arrays_bytes"], owner=location["owner"])
        else:
            self._drop_blob(location["arrays"], location["owner"])

    def settle(self, location: ResultLocation, *, published: bool) -> None:
        """The record tells of the result, or never will: then nothing of it is left. May be repeated."""
        if not published:
            self.delete(location)
        self._redis.hdel(keyspace.unpublished(), location["owner"])

    def unpublished(self) -> list[UnpublishedResult]:
        """All that waits for `settle`."""
        # Any: redis-py types no reply
        notes = cast(list[Any], self._redis.hvals(keyspace.unpublished()))
        return [noted for note in notes if (noted := _noted(note))]

    def sweep(self) -> int:
        """Remove arrays in the blob store whose time is over; how many there were. Redis removes its own."""
        expired = texts(self._redis.zrangebyscore(keyspace.result_blobs(), "-inf", time.time()))
        for each in expired:
            digest, _, owner = each.partition(" ")
            self._drop_blob(digest, owner)
        return len(expired)

    def _stored(self, text: bytes, data: bytes, place: Literal["redis", "blobs"], job: str, attempt: int) -> ResultLocation:
        put = self._chunks.put if place == "redis" else self._put_blob
        location: ResultLocation = {
            "owner": uuid4().hex,
            "summary": digest_of(text),
            "summary_bytes": len(text),
            "arrays": digest_of(data),
            "arrays_bytes": len(data),
            "place": place,
        }
        if job:
            note = UnpublishedResult(job, attempt, location)
            self._redis.hset(keyspace.unpublished(), location["owner"], json.dumps(note))
        try:
            self._chunks.put(text, self._seconds, owner=location["owner"])
            put(data, self._seconds, owner=location["owner"])
        except BaseException:
            self.settle(location, published=False)
            raise
        return location

    def _put_blob(self, data: bytes, seconds: int, *, owner: str) -> str:
        with self._blobs.writer() as sink:
            sink.write(data)
            # Noted before the bytes are there: whatever happens next, the sweep finds them.
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


def _noted(note: bytes) -> UnpublishedResult | None:
    """None for what no `put` wrote."""
    try:
        job, attempt, location = json.loads(note)
        complete = isinstance(job, str) and isinstance(attempt, int) and location.keys() == ResultLocation.__annotations__.keys()
        return UnpublishedResult(job, attempt, location) if complete else None
    except (ValueError, TypeError, AttributeError):
        return None
