"""Parts of results, kept so that a later job need not compute them again; one that is lost costs time and nothing else.

A part lies under the fingerprint of all that it depends on: a head with its sha256 and its first bytes, and pieces of 1 MiB.
Parts take a bounded share of the server's memory, the oldest go first, and all of them before a result has no room.
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
from unitrank_store.redis.memory import memory
from unitrank_store.redis.scripts import LuaScript
from unitrank_store.results.chunks import CHUNK
from unitrank_store.settings import Settings

log = structlog.get_logger()

HEAD = 64 * 1024
"""Bytes beside a part's digest: most parts of small jobs are no larger, and many are read in one round trip."""
TOGETHER = 32
"""Parts that are read at once."""
SENT = 4 * CHUNK
"""Bytes that are written at once, about."""
DIGEST = hashlib.sha256().digest_size
SHARE = 4
"""No part takes more than one of so many equal shares of what all may take."""
ROOM = 0.7
"""Of the server's memory; beyond it nothing is kept, so that the rest is for the queue, the records and the results."""
EACH = 1024
"""Bytes that a part counts for beside its own."""
_KEEP = LuaScript("unitrank_store.results", "keep_part.lua")


class PartCache:
    """The parts of one store. An outage is no error: what cannot be read is not there, what cannot be written is not kept."""

    def __init__(self, connection: redis.Redis, settings: Settings) -> None:
        self._redis = connection
        self._limit = settings.parts_bytes
        self._seconds = settings.result_ttl

    def of(self, tenant: str, *, fresh: bool = False) -> "TenantPartCache":
        """Those of one tenant; `fresh`: none are read."""
        return TenantPartCache(self, tenant, fresh)

    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The encoded parts that are there, whole and undamaged."""
        parts: dict[str, bytes] = {}
        try:
            for start in range(0, len(ids), TOGETHER):
                parts |= self._some(ids[start : start + TOGETHER])
        except redis.exceptions.RedisError as error:
            log.warning("parts not read", error=str(error))
        return parts

    def put(self, parts: Mapping[str, bytes]) -> None:
        """Keep encoded parts for as long as a result, unless they are too large or there is no room."""
        try:
            small = {id: data for id, data in parts.items() if len(data) <= self._limit // SHARE}
            if small:
                self._put(small)
        except redis.exceptions.RedisError as error:
            log.warning("parts not kept", error=str(error))

    def make_way(self, size: int) -> bool:
        """Let the oldest go until so many bytes are free; whether there were so many."""
        before = self._count(self._redis, limit=self._limit)
        if before < size:
            return False
        return int(before - self._count(self._redis, limit=max(0, before - size))) >= size

    def _some(self, ids: Sequence[str]) -> dict[str, bytes]:
        # Any: redis-py types no reply
        heads: Any = self._redis.mget([keyspace.part(id) for id in ids])
        return {id: part for id, head in zip(ids, heads, strict=True) if head and (part := self._whole(id, head))}

    def _whole(self, id: str, head: bytes) -> bytes | None:
        data = b"".join([head[DIGEST:], *self._pieces(id)]) if len(head) == DIGEST + HEAD else head[DIGEST:]
        if hashlib.sha256(data).digest() == head[:DIGEST]:
            return data
        log.warning("damaged part", part=id)
        return None

    def _pieces(self, id: str) -> Iterator[bytes]:
        """To the first one that is missing: the digest knows whether that is the end."""
        index = 0
        while isinstance(piece := self._redis.get(keyspace.part_piece(id, index)), bytes):
            yield piece
            index += 1

    def _put(self, parts: Mapping[str, bytes]) -> None:
        room, waiting = self._room(), 0
        with self._redis.pipeline(transaction=False) as pipeline:
            for id, data in parts.items():
                if (room := room - len(data) - EACH) < 0:
                    break
                # counted first: what is killed in between has too much on its account, and not too little
                self._count(pipeline, limit=self._limit, id=id, size=len(data) + EACH)
                for index, start in enumerate(range(HEAD, len(data), CHUNK)):
                    pipeline.set(keyspace.part_piece(id, index), data[start : start + CHUNK], ex=self._seconds)
                pipeline.set(keyspace.part(id), hashlib.sha256(data).digest() + data[:HEAD], ex=self._seconds)
                waiting += len(data)
                if waiting > SENT:
                    pipeline.execute()
                    waiting = 0
            pipeline.execute()

    def _room(self) -> float:
        """The bytes that may still come."""
        used, limit = memory(self._redis)
        return ROOM * limit - used if limit else math.inf

    def _count(self, client: redis.Redis, *, limit: int, id: str | None = None, size: int = 0) -> Any:
        """The bytes of all parts, once the oldest beyond `limit` are gone and the part `id` is counted. Any: as `LuaScript`."""
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
    """As a job sees them, by their fingerprints."""

    parts: PartCache
    tenant: str
    fresh: bool

    def get(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Those that are there; none for a job that is to be run anew."""
        if self.fresh:
            return {}
        ids = {self._id(fingerprint): fingerprint for fingerprint in fingerprints}
        return {ids[id]: part for id, part in self.parts.get(list(ids)).items()}

    def put(self, parts: Mapping[str, bytes]) -> None:
        """Keep encoded parts for later jobs of the tenant."""
        self.parts.put({self._id(fingerprint): part for fingerprint, part in parts.items()})

    def _id(self, fingerprint: str) -> str:
        return f"{self.tenant}:{fingerprint}"
