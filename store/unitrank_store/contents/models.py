"""Models: the record of each uploaded archive, inspected once for each content and engine.

inspecting ──▶ ready       by `ready`, with the manifest and the digest of the cleaned archive
           └─▶ rejected    by `reject`, with a problem

A later engine inspects an old content again when it is uploaded again.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_schemas.models import Archive, ModelFormat, format_of
from unitrank_store.contents.importing import Importing, Repoint, unawaited
from unitrank_store.errors import RecordNotFound
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts

ModelStatus = Literal["inspecting", "ready", "rejected"]
ARCHIVE = Archive()


@dataclass(frozen=True)
class ModelRecord:
    """`digest` is the upload's, `clean` the cleaned archive's; `name` is None where the content alone was asked for.

    `created_at` is when the content was first uploaded under the name, in unix seconds.
    """

    name: str | None
    digest: str
    bytes: int
    status: ModelStatus
    created_at: float
    engine: str
    manifest: Json | None = None
    problem: Json | None = None
    clean: str | None = None
    architecture: Json | None = None
    """The recipe of a format that is not an archive, whichever format it is; stores keep it under the name of the first one."""
    weights: str | None = None
    """The digest of the uploaded bytes, where a recipe comes with them: `digest` then covers both."""
    uri: str | None = None
    """Of a model that is still to be read from there, or could not be: it has a key instead of a digest."""

    @property
    def format(self) -> ModelFormat:
        """The format of the uploaded bytes, with its options."""
        return format_of(self.architecture)

    @property
    def blob(self) -> str:
        """The digest of the uploaded bytes in the blob store."""
        return self.weights or self.digest


class NamedModel(NamedTuple):
    """`known`: the name had this content before. `inspect`: the caller has to put its inspection in the queue."""

    record: ModelRecord
    known: bool
    inspect: bool


class ModelStore(Importing[ModelRecord]):
    """The models of one store."""

    kind = "model"

    def begin(self, name: str, blob: str, bytes: int, engine: str, format: ModelFormat = ARCHIVE) -> NamedModel:
        """Put a name on a content that lies in the blob store. Raises StateConflict where its bytes were just deleted."""
        return self._begin(name, _described(format, blob, bytes, engine))

    def begin_elsewhere(self, name: str, uri: str, format: ModelFormat, engine: str) -> ModelRecord:
        """Put a name on what lies at a URI; whoever reads it tells `arrived` or `reject_unread`."""
        unread = {"bytes": 0, "status": "inspecting", "engine": engine, "uri": uri, "cleaned": []}
        recipe = format.recipe()
        return self._import(self._scoped(name), unread | ({} if recipe is None else {"architecture": recipe}))

    def arrived(self, key: str, digest: str, bytes: int, repoint: Repoint = unawaited) -> NamedModel:
        """What was read under the key lies in the blob store; `repoint` has those that wait for the key mean the model's digest.

        Raises RecordNotFound where the model was deleted meanwhile, and Full.
        """
        unread = self.content(key)
        described = _described(unread.format, digest, bytes, unread.engine)
        with self._owners.changing(), self._redis.pipeline() as pipeline:
            name = self._take_name(pipeline, key, described["digest"])
            return self._begin_named(pipeline, name, described, repoint)

    def _begin(self, name: str, described: Json) -> NamedModel:
        with self._owners.changing(), self._redis.pipeline() as pipeline:
            name = self._scoped(name)
            self._forget_rejected(pipeline, name)
            self._name(pipeline, name, described["digest"], time.time())
            return self._begin_named(pipeline, name, described)

    def _begin_named(self, pipeline: Pipeline, name: str, described: Json, repoint: Repoint = unawaited) -> NamedModel:
        digest = str(described["digest"])
        self._owners.admit(described.get("weights") or digest, owner=f"model:{digest}")
        uploaded = self._redis.hexists(keyspace.uploads(self.kind, name), digest)
        content, inspect = self._begun(described)
        self._keep(pipeline, content)
        if content["status"] == "ready":
            pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
        elif content["status"] == "inspecting":
            pipeline.sadd(keyspace.awaited(self.kind, digest), name)
        repoint(digest)
        pipeline.execute()
        return NamedModel(self._found(name, digest), bool(uploaded), inspect)

    def ready(self, digest: str, manifest: Json, clean: str) -> ModelRecord:
        """The inspection passed; `clean` lies in the blob store. Raises RecordNotFound where the model was deleted meanwhile."""
        owner = f"clean:{digest}"
        with self._owners.changing():
            try:
                content = self._known(digest)
            except RecordNotFound:
                self._owners.drop(clean, owner=owner)
                raise
            self._owners.claim(clean, owner=owner)
            cleaned = {*content["cleaned"], clean}
            content |= {"status": "ready", "manifest": manifest, "problem": None, "clean": clean, "cleaned": sorted(cleaned)}
            self._settle(content)
        return self.content(digest)

    def reject(self, digest: str, problem: Json) -> ModelRecord:
        """The inspection did not pass. Raises RecordNotFound where the model was deleted meanwhile."""
        with self._owners.changing():
            content = self._known(digest)
            content |= {"status": "rejected", "problem": problem, "manifest": None, "clean": None}
            self._settle(content)
        return self.content(digest)

    def _begun(self, described: Json) -> tuple[Json, bool]:
        new: Json = {**described, "status": "inspecting", "cleaned": []}
        try:
            content = self._known(str(described["digest"]))
        except RecordNotFound:
            return new, True
        if content["engine"] == described["engine"]:
            return content, False
        # What waits for its inspection will meet the new engine there.
        return new | {"cleaned": content["cleaned"]}, content["status"] != "inspecting"

    def _settle(self, content: Json) -> None:
        """Names that waited for the content mean it from now on, if it is ready."""
        digest = content["digest"]
        awaiting = texts(self._redis.smembers(keyspace.awaited(self.kind, digest)))
        with self._redis.pipeline() as pipeline:
            self._keep(pipeline, content)
            for name in awaiting if content["status"] == "ready" else ():
                pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
            pipeline.delete(keyspace.awaited(self.kind, digest))
            pipeline.execute()

    def _record(self, name: str | None, created_at: float, content: Json) -> ModelRecord:
        fields = {field: value for field, value in content.items() if field != "cleaned"}
        return ModelRecord(name=name, created_at=created_at, **fields)

    def _blob_owners(self, content: Json) -> list[tuple[str, str]]:
        digest = content["digest"]
        return [
            (content.get("weights") or digest, f"model:{digest}"),
            *((clean, f"clean:{digest}") for clean in content["cleaned"]),
        ]


def _described(format: ModelFormat, blob: str, bytes: int, engine: str) -> Json:
    """A new content: bytes in the blob store, and the recipe of a format that is not an archive."""
    identity, recipe = format.identity(blob), format.recipe()
    if identity is None or recipe is None:
        return {"digest": blob, "bytes": bytes, "engine": engine}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return {"digest": digest, "bytes": bytes, "engine": engine, "architecture": recipe, "weights": blob}
