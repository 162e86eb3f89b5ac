"""Datasets: the record of each uploaded table, and tables that came inside a request, which have no name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unitrank_schemas.base import Json
from unitrank_store.contents.importing import Importing, Repoint, unawaited
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_tables import open_table
from unitrank_tables.columns import ColumnInfo
from unitrank_tables.table import Format

DatasetStatus = Literal["importing", "ready", "rejected"]


@dataclass(frozen=True)
class DatasetRecord:
    """`name` is None for a table from a request; `created_at` is when the content was first uploaded under the name.

    One that is still to be read from `uri`, or could not be, has a key instead of a digest, and no fields.
    """

    name: str | None
    digest: str
    bytes: int
    status: DatasetStatus
    created_at: float
    examples: int | None
    fields: dict[str, ColumnInfo] | None
    format: Format | None
    problem: Json | None = None
    uri: str | None = None


class DatasetStore(Importing[DatasetRecord]):
    """The datasets of one store."""

    kind = "dataset"

    def put(
        self, name: str, digest: str, bytes: int, fields: Mapping[str, ColumnInfo], examples: int, format: Format
    ) -> tuple[DatasetRecord, bool]:
        """Put a name on a table that lies in the blob store; False where the name had this content before.

        Raises StateConflict where its bytes were just deleted.
        """
        content = _content(digest, bytes, fields, examples, format)
        with self._owners.changing():
            self._owners.admit(digest, owner=f"dataset:{digest}")
            name = self._scoped(name)
            uploaded = self._redis.hexists(keyspace.uploads(self.kind, name), digest)
            with self._redis.pipeline() as pipeline:
                self._forget_rejected(pipeline, name)
                self._keep(pipeline, content)
                self._name(pipeline, name, digest, time.time())
                pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
                pipeline.execute()
            return self._found(name, digest), not uploaded

    def begin(self, name: str, uri: str) -> DatasetRecord:
        """Put a name on what lies at a URI; whoever reads it tells `arrived` or `reject_unread`."""
        return self._import(self._scoped(name), _unread(uri))

    def arrived(
        self,
        key: str,
        digest: str,
        bytes: int,
        fields: Mapping[str, ColumnInfo],
        examples: int,
        format: Format,
        repoint: Repoint = unawaited,
    ) -> DatasetRecord:
        """What was read under the key lies in the blob store; `repoint` has those that wait for the key mean the digest.

        Raises RecordNotFound where it was deleted meanwhile, and Full.
        """
        content = _content(digest, bytes, fields, examples, format)
        with self._owners.changing():
            with self._redis.pipeline() as pipeline:
                name = self._take_name(pipeline, key, digest)
                self._owners.admit(digest, owner=f"dataset:{digest}")
                repoint(digest)
                self._keep(pipeline, content)
                pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
                pipeline.execute()
            return self._found(name, digest)

    def inline(self, content: bytes, holder: str) -> DatasetRecord:
        """Store a table from a request, as `encode_inline` returns it, until `release(digest, holder)`."""
        with self._blobs.writer() as sink:
            sink.write(content)
            with open_table(sink.path) as table:
                described, examples = table.fields, table.examples
        with self._owners.changing():
            self._owners.admit(sink.digest, owner=f"dataset:{sink.digest}")
            with self._redis.pipeline() as pipeline:
                self._keep(pipeline, _content(sink.digest, sink.size, described, examples, "npz"))
                pipeline.execute()
            self._redis.sadd(keyspace.held(self.kind), sink.digest)
            self._redis.sadd(keyspace.holders(self.kind, sink.digest), holder)
        return self.content(sink.digest)

    def release(self, digest: str, holder: str) -> None:
        """The holder no longer needs the table: a table without a name goes with its last holder. May be repeated."""
        with self._owners.changing():
            self._redis.srem(keyspace.holders(self.kind, digest), holder)
            if not self._redis.exists(keyspace.holders(self.kind, digest)):
                self._redis.srem(keyspace.held(self.kind), digest)
                self._forget_unnamed(digest)

    def holders(self) -> Sequence[tuple[str, str]]:
        """Each digest that is held with each of its holders."""
        return [
            (digest, holder)
            for digest in texts(self._redis.smembers(keyspace.held(self.kind)))
            for holder in texts(self._redis.smembers(keyspace.holders(self.kind, digest)))
        ]

    def _record(self, name: str | None, created_at: float, content: Json) -> DatasetRecord:
        return DatasetRecord(name=name, created_at=created_at, **content)

    def _blob_owners(self, content: Json) -> list[tuple[str, str]]:
        return [(content["digest"], f"dataset:{content['digest']}")]


def _unread(uri: str) -> Json:
    return {"bytes": 0, "status": "importing", "fields": None, "examples": None, "format": None, "uri": uri}


def _content(digest: str, bytes: int, fields: Mapping[str, ColumnInfo], examples: int, format: Format) -> Json:
    described = {name: dict(info) for name, info in fields.items()}
    return {"digest": digest, "bytes": bytes, "status": "ready", "fields": described, "examples": examples, "format": format}
