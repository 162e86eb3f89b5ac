"""Datasets: uploaded tables, which have a name, and tables inside job requests without a name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unitrank_schemas.base import Json
from unitrank_store.contents.importing import Importing, Repoint, unawaited
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import known_fields, texts
from unitrank_tables import open_table
from unitrank_tables.columns import ColumnInfo
from unitrank_tables.table import Format

DatasetStatus = Literal["importing", "ready", "rejected"]


@dataclass(frozen=True)
class DatasetRecord:
    """One dataset.

    `name`: None for a table inside a request.
    `digest`: the table's digest; the key of a dataset that is not imported yet, or was rejected.
    `bytes`: size of the table.
    `created_at`: unix time of the first upload under the name, in seconds.
    `examples`: number of rows. `fields`: the columns, by name. `format`: the table's file format.
    All three are None until the table is imported.
    `problem`: the reason of a rejection. `uri`: the address from which the table is imported.
    `copied`: whether shards were copied because their arrays cannot be read in place.
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
    copied: bool = False


class DatasetStore(Importing[DatasetRecord]):
    """The datasets of one store."""

    kind = "dataset"

    def put(
        self, name: str, digest: str, bytes: int, fields: Mapping[str, ColumnInfo], examples: int, format: Format
    ) -> tuple[DatasetRecord, bool]:
        """Give a name to a table in the blob store.

        Returns the dataset, and True if the table is new for the name.
        Raises StateConflict if the bytes were deleted during the upload, and Full.
        """
        content = _ready_content(digest, bytes, fields, examples, format)
        with self._owners.changing():
            self._owners.admit(digest, owner=f"dataset:{digest}")
            name = self._with_tenant(name)
            existed = self._redis.hexists(keyspace.uploads(self.kind, name), digest)
            with self._redis.pipeline() as pipeline:
                self._delete_rejected(pipeline, name)
                self._write(pipeline, content)
                self._add_name(pipeline, name, digest, time.time())
                pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
                pipeline.execute()
            return self._find(name, digest), not existed

    def begin(self, name: str, uri: str) -> DatasetRecord:
        """Give a name to a table that is imported from a URI later.

        The import ends with `arrived` or `reject_unread`.
        """
        return self._begin_import(self._with_tenant(name), _unread_content(uri))

    def arrived(
        self,
        key: str,
        digest: str,
        bytes: int,
        fields: Mapping[str, ColumnInfo],
        examples: int,
        format: Format,
        repoint: Repoint = unawaited,
        *,
        copied: bool = False,
    ) -> DatasetRecord:
        """Replace the key of an imported table, which is in the blob store now, by its digest.

        `repoint`: lets the jobs that wait for the key use the digest.
        `copied`: as in `DatasetRecord`.
        Raises RecordNotFound if the dataset was deleted during the import, and Full.
        """
        content = _ready_content(digest, bytes, fields, examples, format) | ({"copied": True} if copied else {})
        with self._owners.changing():
            with self._redis.pipeline() as pipeline:
                name = self._move_name(pipeline, key, digest)
                self._owners.admit(digest, owner=f"dataset:{digest}")
                repoint(digest)
                self._write(pipeline, content)
                pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
                pipeline.execute()
            return self._find(name, digest)

    def inline(self, content: bytes, holder: str) -> DatasetRecord:
        """Store a table of a request until `release` is called.

        `content`: the table as `encode_inline` returns it. `holder`: id of the job that needs it.
        """
        with self._blobs.writer() as sink:
            sink.write(content)
            with open_table(sink.path) as table:
                fields, examples = table.fields, table.examples
        with self._owners.changing():
            self._owners.admit(sink.digest, owner=f"dataset:{sink.digest}")
            with self._redis.pipeline() as pipeline:
                self._write(pipeline, _ready_content(sink.digest, sink.size, fields, examples, "npz"))
                pipeline.execute()
            self._redis.sadd(keyspace.held(self.kind), sink.digest)
            self._redis.sadd(keyspace.holders(self.kind, sink.digest), holder)
        return self.content(sink.digest)

    def release(self, digest: str, holder: str) -> None:
        """Remove a holder from a table.

        A table without holders and names is deleted. Repeating the call changes nothing.
        """
        with self._owners.changing():
            self._redis.srem(keyspace.holders(self.kind, digest), holder)
            if not self._redis.exists(keyspace.holders(self.kind, digest)):
                self._redis.srem(keyspace.held(self.kind), digest)
                self._delete_unnamed(digest)

    def holders(self) -> Sequence[tuple[str, str]]:
        """Return each held digest with each of its holders."""
        return [
            (digest, holder)
            for digest in texts(self._redis.smembers(keyspace.held(self.kind)))
            for holder in texts(self._redis.smembers(keyspace.holders(self.kind, digest)))
        ]

    def _record(self, name: str | None, created_at: float, content: Json) -> DatasetRecord:
        return DatasetRecord(**known_fields(DatasetRecord, {**content, "name": name, "created_at": created_at}))

    def _blob_owners(self, content: Json) -> list[tuple[str, str]]:
        return [(content["digest"], f"dataset:{content['digest']}")]


def _unread_content(uri: str) -> Json:
    return {"bytes": 0, "status": "importing", "fields": None, "examples": None, "format": None, "uri": uri}


def _ready_content(digest: str, bytes: int, fields: Mapping[str, ColumnInfo], examples: int, format: Format) -> Json:
    columns = {name: dict(info) for name, info in fields.items()}
    return {"digest": digest, "bytes": bytes, "status": "ready", "fields": columns, "examples": examples, "format": format}
