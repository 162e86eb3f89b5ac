"""Imports: named contents that the service still has to read from a URI.

The digest of a content is not known before it is read. Until then, the content is stored under a
key that begins with `import:`. The end of the import replaces the key by the digest.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from redis.client import Pipeline

from unitrank_schemas.base import Json
from unitrank_store.contents.catalogue import Catalogue
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.ids import new_id
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, texts

R = TypeVar("R")

Repoint = Callable[[str], None]
"""A function that is called with the digest just before a content's key is replaced.

The function lets the jobs that wait for the key use the digest. The caller holds the lock. If the
function fails, nothing changes.
"""

UNREAD = "import:"
"""The beginning of the key of a content that is not imported yet."""
REMEMBERED = 3600
"""Seconds for which the digest of an imported content can be looked up by its key."""


class Importing(Catalogue[R]):
    """A catalogue whose contents may be imported from URIs."""

    def unread(self) -> Sequence[str]:
        """Return the keys of all imports that have not finished, the oldest first."""
        imports = (member.partition(" ") for member in texts(self._redis.smembers(keyspace.imports())))
        return sorted(key for kind, _, key in imports if kind == self.kind)

    def imported_digest(self, key: str) -> str | None:
        """Return the digest of a content that was imported under a key.

        Returns None before the import, and an hour after it has finished.
        """
        digest = self._redis.get(keyspace.imported(key))
        return None if digest is None else text(digest)

    def reject_unread(self, key: str, problem: Json) -> None:
        """Reject a content that cannot be read or is malformed; `problem` is the reason.

        Raises RecordNotFound if the content was deleted during the import.
        """
        with self._owners.changing(), self._redis.pipeline() as pipeline:
            self._write(pipeline, self._content(key) | {"status": "rejected", "problem": problem})
            pipeline.execute()

    def finish_import(self, key: str) -> None:
        """Remove an import from the list of unfinished ones.

        Call it after the jobs that waited for the content were released. If the service is killed
        before this call, another service continues the import.
        """
        with self._redis.pipeline() as pipeline:
            pipeline.srem(keyspace.imports(), f"{self.kind} {key}")
            pipeline.delete(keyspace.import_attempts(key))
            pipeline.expire(keyspace.imported(key), REMEMBERED)
            pipeline.execute()

    def _begin_import(self, name: str, content: Json) -> R:
        """Add a content that must be imported from its URI, and return it.

        If the name's newest content is an unfinished import of the same URI, it is returned
        instead.
        """
        with self._owners.changing():
            newest = text(self._redis.hget(keyspace.pointers(self.kind, name), "newest") or b"")
            if newest.startswith(UNREAD) and self._content(newest) | {"digest": ""} == content | {"digest": ""}:
                return self._find(name, newest)
            content = {**content, "digest": f"{UNREAD}{new_id()}"}
            with self._redis.pipeline() as pipeline:
                self._delete_rejected(pipeline, name)
                self._write(pipeline, content)
                self._add_name(pipeline, name, content["digest"], time.time())
                pipeline.sadd(keyspace.imports(), f"{self.kind} {content['digest']}")
                pipeline.execute()
            return self._find(name, content["digest"])

    def _delete_rejected(self, pipeline: Pipeline, name: str) -> None:
        """Delete the rejected imports of a name that gets a new content."""
        for key in self._uploads(name):
            if key.startswith(UNREAD) and self._content(key)["status"] == "rejected":
                pipeline.hdel(keyspace.uploads(self.kind, name), key)
                pipeline.delete(keyspace.content(self.kind, key), keyspace.names_of(self.kind, key))

    def _move_name(self, pipeline: Pipeline, key: str, digest: str) -> str:
        """Move the name of a content from its key to its digest, and return the name.

        Raises RecordNotFound if the content was deleted or rejected during the import.
        """
        names = texts(self._redis.smembers(keyspace.names_of(self.kind, key)))
        if self._content(key)["status"] == "rejected" or not names:
            raise RecordNotFound(f"the {self.kind} was deleted or rejected during its import")
        name = names[0]
        newest = self._redis.hget(keyspace.pointers(self.kind, name), "newest")
        at = self._uploads(name)[key]
        pipeline.delete(keyspace.content(self.kind, key), keyspace.names_of(self.kind, key))
        pipeline.hdel(keyspace.uploads(self.kind, name), key)
        pipeline.set(keyspace.imported(key), digest)
        self._add_name(pipeline, name, digest, at)
        if newest is not None and text(newest) != key:
            # A content that was uploaded during the import stays the newest.
            pipeline.hset(keyspace.pointers(self.kind, name), "newest", text(newest))
        return name

    def _after_delete(self, digest: str, content: Json) -> None:
        if digest.startswith(UNREAD):
            self._redis.srem(keyspace.imports(), f"{self.kind} {digest}")
        else:
            super()._after_delete(digest, content)


def unawaited(digest: str) -> None:
    """Do nothing: the `Repoint` of a content that no job waits for."""
