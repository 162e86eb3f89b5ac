"""Named contents: what models and datasets have in common.

A content is known once, by its digest; each upload puts a name on it. A name has its newest upload and the last that
became ready. A content goes when it has no name and no holder left, and its blobs with it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, Literal, TypeVar, cast

import redis
from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.ownership import BlobOwners
from unitrank_store.contents.references import parse_reference
from unitrank_store.errors import RecordNotFound, StateConflict
from unitrank_store.jobs.record import DEFAULT_TENANT
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text_fields, texts
from unitrank_store.redis.scripts import LuaScript

R = TypeVar("R")
Pointer = Literal["newest", "ready"]
_FIND = LuaScript("unitrank_store.contents", "find_content.lua")

SEPARATOR = "/"
"""Between a tenant and a name, neither of which has it."""


class Catalogue(ABC, Generic[R]):
    """Records are snapshots; every change is made under the lock of `BlobOwners`.

    Names are a tenant's own: two tenants' equal names mean different things. Contents are everyone's, and stored once.
    """

    kind: Literal["model", "dataset"]

    def __init__(self, connection: redis.Redis, blobs: BlobStore, tenant: str = DEFAULT_TENANT) -> None:
        self._tenant = tenant
        self._redis = connection
        self._blobs = blobs
        self._owners = BlobOwners(connection, blobs)

    @abstractmethod
    def _record(self, name: str | None, created_at: float, content: Json) -> R: ...

    @abstractmethod
    def _blob_owners(self, content: Json) -> list[tuple[str, str]]:
        """The digests of the blobs that the content needs, each with the owner it is claimed for."""

    def get(self, reference: str) -> R:
        """What `name@digest` names, or the newest upload under `name`, ready or not. Raises RecordNotFound."""
        return self._found(*self._parsed(reference), ("newest",))

    def resolve(self, reference: str) -> R:
        """What a job means by it: the last content that became ready under a name, else the newest. Raises RecordNotFound."""
        return self._found(*self._parsed(reference), ("ready", "newest"))

    def has(self, name: str) -> bool:
        """Whether the tenant has put anything under the name."""
        return bool(self._redis.exists(keyspace.uploads(self.kind, self._scoped(name))))

    def content(self, digest: str) -> R:
        """The content alone, without a name. Raises RecordNotFound."""
        return self._record(None, 0.0, self._known(digest))

    def list(self, limit: int = 50, after: str | None = None) -> tuple[Sequence[R], str | None]:
        """Each name's newest upload, by name, and the name to go on after where there are more."""
        start = f"({self._scoped(after)}" if after else f"[{self._scoped('')}"
        # What follows the separator follows every name of the tenant.
        end = f"({self._tenant}{chr(ord(SEPARATOR) + 1)}"
        names = texts(self._redis.zrangebylex(keyspace.all_names(self.kind), start, end, 0, limit + 1))
        more = _without_tenant(names[limit - 1]) if len(names) > limit else None
        return [record for name in names[:limit] if (record := self._if_there(name)) is not None], more

    def newest_of_all(self) -> Iterator[R]:
        """Each name's newest upload, of all tenants."""
        for name in texts(self._redis.zrange(keyspace.all_names(self.kind), 0, -1)):
            record = self._if_there(name)
            if record is not None:
                yield record

    def digests_of_all(self) -> set[str]:
        """What has a name, of all tenants: digests, and keys of what is still to be read from elsewhere."""
        all_names = texts(self._redis.zrange(keyspace.all_names(self.kind), 0, -1))
        with self._redis.pipeline(transaction=False) as pipeline:
            for name in all_names:
                pipeline.hkeys(keyspace.uploads(self.kind, name))
            return {digest for digests in pipeline.execute() for digest in texts(digests)}

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes contents, or what jobs mean by them, meanwhile. Raises Unavailable after 30 s of waiting."""
        with self._owners.changing():
            yield

    def room(self) -> int | None:
        """The bytes that may still be uploaded; None where there is no quota. Raises Full where there is no room at all."""
        return self._owners.room()

    def discard(self, blob: str) -> None:
        """A blob that came for a content that is gone goes too, unless somebody needs it."""
        with self._owners.changing():
            self._owners.drop(blob, owner="")

    def delete(self, reference: str) -> None:
        """Take a name away, from all its contents or from one.

        Raises RecordNotFound, and StateConflict where a live job needs it.
        """
        with self._owners.changing():
            name, digest = self._parsed(reference)
            uploads = self._uploads(name)
            taken = [digest] if digest else list(uploads)
            if not uploads or not set(taken) <= set(uploads):
                raise RecordNotFound(f"no {self.kind} {reference!r}")
            self._take(name, taken, {other: at for other, at in uploads.items() if other not in taken})

    def _found(self, name: str, digest: str | None, pointers: Sequence[Pointer] = ()) -> R:
        """Of a name with its tenant."""
        keys = [keyspace.pointers(self.kind, name), keyspace.uploads(self.kind, name)]
        stored = _FIND(self._redis, keys, contents=keyspace.contents(self.kind), digest=digest, pointers=pointers)
        if not stored:
            raise RecordNotFound(f"no {self.kind} {_without_tenant(name) + (f'@{digest}' if digest else '')!r}")
        _, at, content = stored
        return self._record(_without_tenant(name), float(at), json.loads(content))

    def _if_there(self, name: str) -> R | None:
        try:
            return self._found(name, None, ("newest",))
        except RecordNotFound:
            return None

    def _parsed(self, reference: str) -> tuple[str, str | None]:
        """The name with its tenant, and the digest where the reference is exact. Raises RecordNotFound."""
        name, digest = parse_reference(reference)
        return self._scoped(name), digest

    def _scoped(self, name: str) -> str:
        return f"{self._tenant}{SEPARATOR}{name}"

    def _known(self, digest: str) -> Json:
        stored = self._redis.get(keyspace.content(self.kind, digest))
        if stored is None:
            raise RecordNotFound(f"no {self.kind} with the content {digest}")
        # Any: json.loads says no more of the object that `_keep` wrote
        return cast(Json, json.loads(stored))

    def _uploads(self, name: str) -> dict[str, float]:
        stored = text_fields(self._redis.hgetall(keyspace.uploads(self.kind, name)))
        return {digest: float(at) for digest, at in stored.items()}

    def _keep(self, pipeline: Pipeline, content: Json) -> None:
        pipeline.set(keyspace.content(self.kind, content["digest"]), json.dumps(content))

    def _name(self, pipeline: Pipeline, name: str, digest: str, at: float) -> None:
        """Put a name on a content; its first upload's time stays."""
        pipeline.sadd(keyspace.names_of(self.kind, digest), name)
        pipeline.hsetnx(keyspace.uploads(self.kind, name), digest, str(at))
        pipeline.hset(keyspace.pointers(self.kind, name), "newest", digest)
        pipeline.zadd(keyspace.all_names(self.kind), {name: 0})

    def _take(self, name: str, taken: Sequence[str], left: dict[str, float]) -> None:
        last = [digest for digest in taken if self._redis.scard(keyspace.names_of(self.kind, digest)) == 1]

        def change(pipeline: Pipeline) -> None:
            for digest in last:
                if pipeline.exists(keyspace.pins(digest)):
                    raise StateConflict(
                        f"a job that has not ended needs the {self.kind} {_without_tenant(name)}@{digest}; cancel it or wait"
                    )
            pipeline.multi()
            for digest in taken:
                pipeline.srem(keyspace.names_of(self.kind, digest), name)
                pipeline.srem(keyspace.awaited(self.kind, digest), name)
                pipeline.hdel(keyspace.uploads(self.kind, name), digest)
            self._point(pipeline, name, left)

        self._redis.transaction(change, *(keyspace.pins(digest) for digest in last))
        for digest in last:
            self._forget_unnamed(digest)

    def _point(self, pipeline: Pipeline, name: str, left: dict[str, float]) -> None:
        """What a name means once some of its contents are taken away."""
        pipeline.delete(keyspace.pointers(self.kind, name))
        if not left:
            pipeline.zrem(keyspace.all_names(self.kind), name)
            return
        newest_first = sorted(left, key=lambda digest: left[digest], reverse=True)
        pipeline.hset(keyspace.pointers(self.kind, name), "newest", newest_first[0])
        ready = next((digest for digest in newest_first if self._known(digest)["status"] == "ready"), None)
        if ready:
            pipeline.hset(keyspace.pointers(self.kind, name), "ready", ready)

    def _forget_unnamed(self, digest: str) -> None:
        kept = self._redis.exists(keyspace.names_of(self.kind, digest), keyspace.holders(self.kind, digest))
        stored = self._redis.get(keyspace.content(self.kind, digest))
        if kept or stored is None:
            return
        self._redis.delete(keyspace.content(self.kind, digest), keyspace.awaited(self.kind, digest))
        self._forgotten(digest, json.loads(stored))

    def _forgotten(self, digest: str, content: Json) -> None:
        """It is gone: what was there for it alone goes too."""
        for blob, owner in self._blob_owners(content):
            self._owners.drop(blob, owner=owner)


def _without_tenant(name: str) -> str:
    """The name without its tenant."""
    return name.partition(SEPARATOR)[2]
