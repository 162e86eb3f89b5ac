"""Models: uploaded contents, each of which is inspected once by each version of the engine.

inspecting ──▶ ready       by `ready`, with the manifest and the digest of the cleaned archive
           └─▶ rejected    by `reject`, with a problem

A later version of the engine inspects a content again when the content is uploaded again.
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
from unitrank_store.errors import Corrupt, RecordNotFound
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import known_fields, texts

ModelStatus = Literal["inspecting", "ready", "rejected"]
ARCHIVE = Archive()


@dataclass(frozen=True)
class ModelRecord:
    """One model.

    `name`: None for a model that was read by its digest alone.
    `digest`: the model's digest; the key of a model that is not imported yet, or was rejected.
    `bytes`: size of the upload.
    `created_at`: unix time of the first upload under the name, in seconds.
    `engine`: version of the engine that inspects the model.
    `manifest`: facts about a ready model, such as its layers. `problem`: the reason of a rejection.
    `clean`: digest of the cleaned archive, which the engine runs.
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
    """The recipe of a format that is not an archive.

    The field is named after the first of these formats.
    """
    weights: str | None = None
    """The digest of the uploaded bytes of a model with a recipe.

    `digest` covers bytes and recipe.
    """
    uri: str | None = None
    """The address of a model that is not imported yet, or was rejected."""

    @property
    def format(self) -> ModelFormat:
        """The format of the uploaded bytes, with its options."""
        return format_of(self.architecture)

    @property
    def blob(self) -> str:
        """The digest of the uploaded bytes in the blob store."""
        return self.weights or self.digest


CORRUPT = "model_corrupt"
"""Code of the problem of a model whose stored bytes were damaged before its inspection."""


class NamedModel(NamedTuple):
    """A model that got a name.

    `existed`: whether the name had this content before.
    `inspect`: whether the caller must queue the model's inspection.
    """

    record: ModelRecord
    existed: bool
    inspect: bool


class ModelStore(Importing[ModelRecord]):
    """The models of one store."""

    kind = "model"

    def begin(self, name: str, blob: str, bytes: int, engine: str, format: ModelFormat = ARCHIVE) -> NamedModel:
        """Give a name to a content in the blob store.

        `blob`: digest of the uploaded bytes. `bytes`: their number. `engine`: the engine's version.
        Raises StateConflict if the bytes were deleted during the upload, and Full.
        """
        described = _described(format, blob, bytes, engine)
        return self._begin(name, described, self._is_damaged(described["digest"]))

    def begin_import(self, name: str, uri: str, format: ModelFormat, engine: str) -> ModelRecord:
        """Give a name to a model that is imported from a URI later.

        The import ends with `arrived` or `reject_unread`.
        """
        unread = {"bytes": 0, "status": "inspecting", "engine": engine, "uri": uri, "cleaned": []}
        recipe = format.recipe()
        return self._begin_import(self._with_tenant(name), unread | ({} if recipe is None else {"architecture": recipe}))

    def arrived(self, key: str, digest: str, bytes: int, repoint: Repoint = unawaited) -> NamedModel:
        """Replace the key of an imported model, whose bytes are in the blob store, by its digest.

        `digest`, `bytes`: digest and number of the bytes.
        `repoint`: lets the jobs that wait for the key use the model's digest.
        Raises RecordNotFound if the model was deleted during the import, and Full.
        """
        unread = self.content(key)
        described = _described(unread.format, digest, bytes, unread.engine)
        damaged = self._is_damaged(described["digest"])
        with self._owners.changing(), self._redis.pipeline() as pipeline:
            name = self._move_name(pipeline, key, described["digest"])
            return self._begin_named(pipeline, name, described, damaged, repoint)

    def _begin(self, name: str, described: Json, damaged: bool) -> NamedModel:
        with self._owners.changing(), self._redis.pipeline() as pipeline:
            name = self._with_tenant(name)
            self._delete_rejected(pipeline, name)
            self._add_name(pipeline, name, described["digest"], time.time())
            return self._begin_named(pipeline, name, described, damaged)

    def _begin_named(
        self, pipeline: Pipeline, name: str, described: Json, damaged: bool, repoint: Repoint = unawaited
    ) -> NamedModel:
        digest = str(described["digest"])
        self._owners.admit(described.get("weights") or digest, owner=f"model:{digest}")
        existed = self._redis.hexists(keyspace.uploads(self.kind, name), digest)
        content, inspect = self._new_or_existing(described, damaged)
        self._write(pipeline, content)
        if content["status"] == "ready":
            pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
        elif content["status"] == "inspecting":
            pipeline.sadd(keyspace.awaited(self.kind, digest), name)
        repoint(digest)
        pipeline.execute()
        return NamedModel(self._find(name, digest), bool(existed), inspect)

    def ready(self, digest: str, manifest: Json, clean: str) -> ModelRecord:
        """End an inspection that has passed.

        `clean`: digest of the cleaned archive, which is in the blob store.
        Raises RecordNotFound if the model was deleted during the inspection.
        """
        owner = f"clean:{digest}"
        with self._owners.changing():
            try:
                content = self._content(digest)
            except RecordNotFound:
                self._owners.drop(clean, owner=owner)
                raise
            self._owners.claim(clean, owner=owner)
            cleaned = {*content["cleaned"], clean}
            content |= {"status": "ready", "manifest": manifest, "problem": None, "clean": clean, "cleaned": sorted(cleaned)}
            self._end_inspection(content)
        return self.content(digest)

    def reject(self, digest: str, problem: Json) -> ModelRecord:
        """End an inspection that has failed; `problem` is the reason.

        Raises RecordNotFound if the model was deleted during the inspection.
        """
        with self._owners.changing():
            content = self._content(digest)
            content |= {"status": "rejected", "problem": problem, "manifest": None, "clean": None}
            self._end_inspection(content)
        return self.content(digest)

    def _is_damaged(self, digest: str) -> bool:
        """Whether the stored bytes of an inspected model were damaged: an upload repairs them."""
        try:
            content = self._content(digest)
        except RecordNotFound:
            return False
        if content["status"] != "ready":
            return content["status"] == "rejected" and (content.get("problem") or {}).get("code") == CORRUPT
        try:
            self._blobs.open_verified(content["clean"]).close()
        except (Corrupt, RecordNotFound):
            return True
        return False

    def _new_or_existing(self, described: Json, damaged: bool) -> tuple[Json, bool]:
        """Return the content to store, and whether it needs a new inspection.

        `damaged`: the stored bytes of the inspected model were damaged.
        """
        new: Json = {**described, "status": "inspecting", "cleaned": []}
        try:
            content = self._content(str(described["digest"]))
        except RecordNotFound:
            return new, True
        if content["engine"] == described["engine"] and not damaged:
            return content, False
        # The engine has a new version, or the cleaned archive is written again. An inspection that
        # is queued already will do it.
        return new | {"cleaned": content["cleaned"]}, content["status"] != "inspecting"

    def _end_inspection(self, content: Json) -> None:
        """Store an inspected content.

        If it is ready, the names that wait for it point to it now.
        """
        digest = content["digest"]
        awaiting = texts(self._redis.smembers(keyspace.awaited(self.kind, digest)))
        with self._redis.pipeline() as pipeline:
            self._write(pipeline, content)
            for name in awaiting if content["status"] == "ready" else ():
                pipeline.hset(keyspace.pointers(self.kind, name), "ready", digest)
            pipeline.delete(keyspace.awaited(self.kind, digest))
            pipeline.execute()

    def _record(self, name: str | None, created_at: float, content: Json) -> ModelRecord:
        return ModelRecord(**known_fields(ModelRecord, {**content, "name": name, "created_at": created_at}))

    def _blob_owners(self, content: Json) -> list[tuple[str, str]]:
        digest = content["digest"]
        return [
            (content.get("weights") or digest, f"model:{digest}"),
            *((clean, f"clean:{digest}") for clean in content["cleaned"]),
        ]


def _described(format: ModelFormat, blob: str, bytes: int, engine: str) -> Json:
    """Return the fields of a new content: its bytes, and the recipe of a format with one."""
    identity, recipe = format.identity(blob), format.recipe()
    if identity is None or recipe is None:
        return {"digest": blob, "bytes": bytes, "engine": engine}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return {"digest": digest, "bytes": bytes, "engine": engine, "architecture": recipe, "weights": blob}
