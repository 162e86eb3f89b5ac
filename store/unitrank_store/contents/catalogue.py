"""The catalogue of named contents: the common part of models and datasets.

A content is stored once, under its digest. Each upload gives it a name. A name has several contents
over time, and points to two of them: to its newest upload, and to the last one that became ready.
A *holder* is a job that keeps a content without a name. A content without a name and without a
holder is deleted, together with its blobs.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Literal, TypeVar, cast

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
RESOLVED: tuple[Pointer, ...] = ("ready", "newest")
"""The contents that a new job can use, the preferred one first."""
_FIND = LuaScript("unitrank_store.contents", "find_content.lua")

SEPARATOR = "/"
"""The character between a tenant and a name. Neither of them may contain it."""


class Catalogue(ABC, Generic[R]):
    """The named contents of one kind, for one tenant.

    Each tenant has names of its own: the same name of two tenants means different contents.
    Contents are stored once for all tenants. Returned records are snapshots. Each change holds the
    lock of `BlobOwners`.
    """

    kind: Literal["model", "dataset"]

    def __init__(self, connection: redis.Redis, blobs: BlobStore, tenant: str = DEFAULT_TENANT) -> None:
        self._tenant = tenant
        self._redis = connection
        self._blobs = blobs
        self._owners = BlobOwners(connection, blobs)

    @abstractmethod
    def _record(self, name: str | None, created_at: float, content: Json) -> R:
        """Return the record of a stored content. `created_at`: unix time of its upload."""

    @abstractmethod
    def _blob_owners(self, content: Json) -> list[tuple[str, str]]:
        """Return the blobs that a content needs: for each one its digest and its owner's name."""

    def get(self, reference: str) -> R:
        """Return the content that a reference names: for a name, its newest upload, ready or not.

        Raises RecordNotFound.
        """
        return self._find(*self._parse(reference), ("newest",))

    def resolve(self, reference: str) -> R:
        """Return the content that a new job uses: for a name, the last one that became ready.

        If no content of the name is ready, the newest one is returned. Raises RecordNotFound.
        """
        return self._find(*self._parse(reference), RESOLVED)

    def queue_resolve(self, reference: str, pipeline: Pipeline) -> None:
        """Queue the command whose reply `resolved` takes. Raises RecordNotFound."""
        self._run_find(pipeline, *self._parse(reference), RESOLVED)

    def resolved(self, reference: str, reply: Any) -> R:
        """Return what `resolve` returns. Raises RecordNotFound. Any: redis-py types no reply."""
        return self._found(*self._parse(reference), reply)

    def has(self, name: str) -> bool:
        """Return whether the tenant has a content under the name."""
        return bool(self._redis.exists(keyspace.uploads(self.kind, self._with_tenant(name))))

    def content(self, digest: str) -> R:
        """Return the content with this digest, without a name. Raises RecordNotFound.

        A content that is not imported yet has a key in place of a digest.
        """
        return self._record(None, 0.0, self._content(digest))

    def list(self, limit: int = 50, after: str | None = None) -> tuple[Sequence[R], str | None]:
        """Return the newest upload of each name, sorted by name, and the name that ends the page.

        The next page begins `after` this name, which is None on the last page.
        """
        start = f"({self._with_tenant(after)}" if after else f"[{self._with_tenant('')}"
        # The tenant and the character after the separator sort after every name of the tenant.
        end = f"({self._tenant}{chr(ord(SEPARATOR) + 1)}"
        names = texts(self._redis.zrangebylex(keyspace.all_names(self.kind), start, end, 0, limit + 1))
        last = _without_tenant(names[limit - 1]) if len(names) > limit else None
        return [record for name in names[:limit] if (record := self._newest(name)) is not None], last

    def newest_of_all(self) -> Iterator[R]:
        """Yield the newest upload of each name, of all tenants."""
        for name in texts(self._redis.zrange(keyspace.all_names(self.kind), 0, -1)):
            record = self._newest(name)
            if record is not None:
                yield record

    def digests_of_all(self) -> set[str]:
        """Return the digests of all named contents, of all tenants.

        For a content that is not imported yet, its key is returned.
        """
        all_names = texts(self._redis.zrange(keyspace.all_names(self.kind), 0, -1))
        with self._redis.pipeline(transaction=False) as pipeline:
            for name in all_names:
                pipeline.hkeys(keyspace.uploads(self.kind, name))
            return {digest for digests in pipeline.execute() for digest in texts(digests)}

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock: no other process changes contents, or the jobs that wait for them.

        Raises Unavailable if the lock is not free within 30 s.
        """
        with self._owners.changing():
            yield

    def room(self) -> int | None:
        """Return the bytes that may still be uploaded; None without a quota.

        Raises Full for 0 bytes.
        """
        return self._owners.room()

    def discard(self, blob: str) -> None:
        """Delete the blob of a content that was deleted during its import.

        A blob that has an owner stays.
        """
        with self._owners.changing():
            self._owners.drop(blob, owner="")

    def delete(self, reference: str) -> None:
        """Remove a name from all its contents, or from the one whose digest the reference names.

        Raises RecordNotFound, and StateConflict if a job that has not ended needs a content.
        """
        with self._owners.changing():
            name, digest = self._parse(reference)
            uploads = self._uploads(name)
            digests = [digest] if digest else list(uploads)
            if not uploads or not set(digests) <= set(uploads):
                raise RecordNotFound(f"{self.kind} {reference!r} not found; GET /v1/{self.kind}s lists all names")
            self._remove_name(name, digests, {upload: at for upload, at in uploads.items() if upload not in digests})

    def _find(self, name: str, digest: str | None, pointers: Sequence[Pointer] = ()) -> R:
        """Return the content under a name that has this digest.

        Without a digest, return the content of the first pointer that is set.
        `name`: a name with its tenant. Raises RecordNotFound.
        """
        return self._found(name, digest, self._run_find(self._redis, name, digest, pointers))

    def _run_find(self, client: redis.Redis, name: str, digest: str | None, pointers: Sequence[Pointer]) -> Any:
        """Run the script of `_find`, or queue it on a pipeline."""
        keys = [keyspace.pointers(self.kind, name), keyspace.uploads(self.kind, name)]
        return _FIND(client, keys, contents=keyspace.contents(self.kind), digest=digest, pointers=pointers)

    def _found(self, name: str, digest: str | None, reply: Any) -> R:
        """Return the content that the script has found. Raises RecordNotFound."""
        if not reply:
            exact = _without_tenant(name) + (f"@{digest}" if digest else "")
            raise RecordNotFound(f"{self.kind} {exact!r} not found; GET /v1/{self.kind}s lists all names")
        _, at, content = reply
        return self._record(_without_tenant(name), float(at), json.loads(content))

    def _newest(self, name: str) -> R | None:
        try:
            return self._find(name, None, ("newest",))
        except RecordNotFound:
            return None

    def _parse(self, reference: str) -> tuple[str, str | None]:
        """Return the name with its tenant, and the digest of an exact reference.

        Raises RecordNotFound.
        """
        name, digest = parse_reference(reference)
        return self._with_tenant(name), digest

    def _with_tenant(self, name: str) -> str:
        return f"{self._tenant}{SEPARATOR}{name}"

    def _content(self, digest: str) -> Json:
        """Return the stored content. Raises RecordNotFound."""
        stored = self._redis.get(keyspace.content(self.kind, digest))
        if stored is None:
            raise RecordNotFound(f"{self.kind} with the content {digest} not found")
        # cast: `_write` wrote a JSON object
        return cast(Json, json.loads(stored))

    def _uploads(self, name: str) -> dict[str, float]:
        """Return the unix time of the first upload of each digest under the name."""
        stored = text_fields(self._redis.hgetall(keyspace.uploads(self.kind, name)))
        return {digest: float(at) for digest, at in stored.items()}

    def _write(self, pipeline: Pipeline, content: Json) -> None:
        pipeline.set(keyspace.content(self.kind, content["digest"]), json.dumps(content))

    def _add_name(self, pipeline: Pipeline, name: str, digest: str, at: float) -> None:
        """Give a content a name, as its newest upload. The time of its first upload stays."""
        pipeline.sadd(keyspace.names_of(self.kind, digest), name)
        pipeline.hsetnx(keyspace.uploads(self.kind, name), digest, str(at))
        pipeline.hset(keyspace.pointers(self.kind, name), "newest", digest)
        pipeline.zadd(keyspace.all_names(self.kind), {name: 0})

    def _remove_name(self, name: str, digests: Sequence[str], remaining: dict[str, float]) -> None:
        """Remove a name from some of its contents.

        `remaining`: the name's other uploads, with their times.
        """
        unnamed = [digest for digest in digests if self._redis.scard(keyspace.names_of(self.kind, digest)) == 1]

        def change(pipeline: Pipeline) -> None:
            for digest in unnamed:
                if pipeline.exists(keyspace.pins(digest)):
                    raise StateConflict(
                        f"a job that has not ended needs the {self.kind} {_without_tenant(name)}@{digest}; cancel the job or wait"
                    )
            pipeline.multi()
            for digest in digests:
                pipeline.srem(keyspace.names_of(self.kind, digest), name)
                pipeline.srem(keyspace.awaited(self.kind, digest), name)
                pipeline.hdel(keyspace.uploads(self.kind, name), digest)
            self._set_pointers(pipeline, name, remaining)

        self._redis.transaction(change, *(keyspace.pins(digest) for digest in unnamed))
        for digest in unnamed:
            self._delete_unnamed(digest)

    def _set_pointers(self, pipeline: Pipeline, name: str, uploads: dict[str, float]) -> None:
        """Set the pointers of a name to its remaining uploads. Without uploads, delete the name."""
        pipeline.delete(keyspace.pointers(self.kind, name))
        if not uploads:
            pipeline.zrem(keyspace.all_names(self.kind), name)
            return
        newest_first = sorted(uploads, key=lambda digest: uploads[digest], reverse=True)
        pipeline.hset(keyspace.pointers(self.kind, name), "newest", newest_first[0])
        ready = next((digest for digest in newest_first if self._content(digest)["status"] == "ready"), None)
        if ready:
            pipeline.hset(keyspace.pointers(self.kind, name), "ready", ready)

    def _delete_unnamed(self, digest: str) -> None:
        """Delete a content, unless it has a name or a holder."""
        is_needed = self._redis.exists(keyspace.names_of(self.kind, digest), keyspace.holders(self.kind, digest))
        stored = self._redis.get(keyspace.content(self.kind, digest))
        if is_needed or stored is None:
            return
        self._redis.delete(keyspace.content(self.kind, digest), keyspace.awaited(self.kind, digest))
        self._after_delete(digest, json.loads(stored))

    def _after_delete(self, digest: str, content: Json) -> None:
        """Drop the blobs of a content that was deleted."""
        for blob, owner in self._blob_owners(content):
            self._owners.drop(blob, owner=owner)


def _without_tenant(name: str) -> str:
    return name.partition(SEPARATOR)[2]
