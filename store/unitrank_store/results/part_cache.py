"""The cache of partial results (parts), which later jobs reuse instead of computing them again.

A part's key is the fingerprint of everything that the part depends on. Its value is a head, with
the part's sha256 digest and first bytes, and further pieces of 1 MiB.

A lost part costs only the time to compute it again. So the parts take a limited share of the
server's memory. A result that needs room replaces parts. The oldest parts are deleted first.
"""

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from unitrank_store.redis import keyspace
from unitrank_store.redis.memory import RecentMemory
from unitrank_store.redis.scripts import LuaScript
from unitrank_store.results.chunks import CHUNK
from unitrank_store.settings import Settings

log = structlog.get_logger()

HEAD = 64 * 1024
"""Bytes of a part in its head, after the digest.

Most parts of small jobs are not larger than this.
"""
READ_TOGETHER = 32
"""Number of heads that are read in one round trip."""
WRITE_BYTES = 4 * CHUNK
"""Bytes of parts, roughly, that are written in one round trip."""
DIGEST = hashlib.sha256().digest_size
"""Bytes of the digest in a head."""
SHARE = 4
"""One part takes at most a share of 1 / SHARE of the limit for all parts."""
ROOM = 0.7
"""Share of the server's memory beyond which no part is stored.

The rest is for queue and results.
"""
OVERHEAD = 1024
"""Bytes of memory that a part counts for besides its content."""
_KEEP = LuaScript("unitrank_store.results", "keep_part.lua")


class PartCache:
    """The parts of one store, of all tenants.

    An outage of the store raises no error. A part that cannot be read counts as absent, and a part
    that cannot be written is not kept.
    """

    def __init__(self, connection: redis.Redis, settings: Settings) -> None:
        self._redis = connection
        self._memory = RecentMemory(connection)
        self._limit = settings.parts_bytes
        self._seconds = settings.result_ttl

    def of(self, tenant: str, *, fresh: bool = False) -> "TenantPartCache":
        """Return the parts of one tenant.

        `fresh`: read no part, because the job asked for a new run.
        """
        return TenantPartCache(self, tenant, fresh)

    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Return the encoded parts that are stored completely and undamaged, by id."""
        parts: dict[str, bytes] = {}
        try:
            for start in range(0, len(ids), READ_TOGETHER):
                parts |= self._read(ids[start : start + READ_TOGETHER])
        except redis.exceptions.RedisError as error:
            log.warning("parts not read", error=str(error))
        return parts

    def put(self, parts: Mapping[str, bytes]) -> None:
        """Store encoded parts by id, for the lifetime of a result.

        Parts without room are left out.
        """
        try:
            small = {id: data for id, data in parts.items() if len(data) <= self._limit // SHARE}
            if small:
                self._put(small)
        except redis.exceptions.RedisError as error:
            log.warning("parts not kept", error=str(error))

    def make_room(self, size: int) -> bool:
        """Delete the oldest parts until `size` bytes are free; return whether that is possible."""
        part_bytes = self._keep(self._redis, limit=self._limit)
        if part_bytes < size:
            return False
        return int(part_bytes - self._keep(self._redis, limit=max(0, part_bytes - size))) >= size

    def _read(self, ids: Sequence[str]) -> dict[str, bytes]:
        # Any: redis-py types no reply
        heads: Any = self._redis.mget([keyspace.part(id) for id in ids])
        return {id: part for id, head in zip(ids, heads, strict=True) if head and (part := self._complete(id, head))}

    def _complete(self, id: str, head: bytes) -> bytes | None:
        """Return the whole part that begins with this head; None if the part is damaged."""
        data = b"".join([head[DIGEST:], *self._pieces(id)]) if len(head) == DIGEST + HEAD else head[DIGEST:]
        if hashlib.sha256(data).digest() == head[:DIGEST]:
            return data
        log.warning("damaged part", part=id)
        return None

    def _pieces(self, id: str) -> Iterator[bytes]:
        """Yield the pieces up to the first missing one.

        The digest shows whether that is the part's end.
        """
        index = 0
        while isinstance(piece := self._redis.get(keyspace.part_piece(id, index)), bytes):
            yield piece
            index += 1

    def _put(self, parts: Mapping[str, bytes]) -> None:
        room, queued = self._room(), 0
        with self._redis.pipeline(transaction=False) as pipeline:
            for id, data in parts.items():
                if (room := room - len(data) - OVERHEAD) < 0:
                    break
                # Count first, then write: after a crash between the two, the count is too large and
                # never too small.
                self._keep(pipeline, limit=self._limit, id=id, size=len(data) + OVERHEAD)
                for index, start in enumerate(range(HEAD, len(data), CHUNK)):
                    pipeline.set(keyspace.part_piece(id, index), data[start : start + CHUNK], ex=self._seconds)
                pipeline.set(keyspace.part(id), hashlib.sha256(data).digest() + data[:HEAD], ex=self._seconds)
                queued += len(data)
                if queued > WRITE_BYTES:
                    pipeline.execute()
                    queued = 0
            pipeline.execute()

    def _room(self) -> float:
        """Return the bytes of the server's memory that further parts may take.

        The answer is 0 if the memory is unknown: parts could take the room of results.
        """
        if (server := self._memory.read()) is None:
            return 0
        return ROOM * server.limit - server.used if server.limit else math.inf

    def _keep(self, client: redis.Redis, *, limit: int, id: str | None = None, size: int = 0) -> Any:
        """Delete the oldest parts beyond `limit` bytes, and count a new part.

        Returns the bytes of all parts.
        Any: redis-py does not type a script's reply.
        """
        now = time.time()
        return _KEEP(
            client,
            [keyspace.part_ages(), keyspace.part_sizes()],
            prefix=keyspace.part(""),
            piece=CHUNK,
            head=HEAD,
            limit=limit,
            now=now,
            expired=now - self._seconds,
            id=id,
            bytes=size,
        )


@dataclass(frozen=True)
class TenantPartCache:
    """The parts of one tenant, by their fingerprints.

    `fresh`: read no part, because the job asked for a new run.
    """

    parts: PartCache
    tenant: str
    fresh: bool

    def get(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Return the stored parts by fingerprint; none if `fresh`."""
        if self.fresh:
            return {}
        ids = {self._id(fingerprint): fingerprint for fingerprint in fingerprints}
        return {ids[id]: part for id, part in self.parts.get(list(ids)).items()}

    def put(self, parts: Mapping[str, bytes]) -> None:
        """Store encoded parts by fingerprint, for later jobs of the tenant."""
        self.parts.put({self._id(fingerprint): part for fingerprint, part in parts.items()})

    def _id(self, fingerprint: str) -> str:
        return f"{self.tenant}:{fingerprint}"
