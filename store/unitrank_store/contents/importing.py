"""Named contents of which some are still to be read from elsewhere.

Such a one has no digest; it is known by a key, and given up for its digest once that is known.
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
"""Called with the digest before the key of a content goes, under the lock: a failure leaves all as it was."""

UNREAD = "import:"
"""How the key of a content begins that has no digest yet."""
REMEMBERED = 3600


class Importing(Catalogue[R]):
    """A catalogue whose contents may lie elsewhere when they get their name."""

    def unread(self) -> Sequence[str]:
        """The keys of all that is to be read from elsewhere, the oldest first."""
        waiting = (each.partition(" ") for each in texts(self._redis.smembers(keyspace.imports())))
        return sorted(key for kind, _, key in waiting if kind == self.kind)

    def became(self, key: str) -> str | None:
        """The digest of what was read under the key within the last hour."""
        digest = self._redis.get(keyspace.imported(key))
        return None if digest is None else text(digest)

    def reject_unread(self, key: str, problem: Json) -> None:
        """What lies elsewhere cannot be had, or is not what it should be. Raises RecordNotFound where it was deleted meanwhile."""
        with self._owners.changing(), self._redis.pipeline() as pipeline:
            self._keep(pipeline, self._known(key) | {"status": "rejected", "problem": problem})
            pipeline.execute()

    def finish_import(self, key: str) -> None:
        """All who waited for it have been told; until then whoever comes next goes on with it."""
        with self._redis.pipeline() as pipeline:
            pipeline.srem(keyspace.imports(), f"{self.kind} {key}")
            pipeline.delete(keyspace.import_attempts(key))
            pipeline.expire(keyspace.imported(key), REMEMBERED)
            pipeline.execute()

    def _import(self, name: str, content: Json) -> R:
        """Have a content read from its URI; one that is on its way already is not read twice."""
        with self._owners.changing():
            newest = text(self._redis.hget(keyspace.pointers(self.kind, name), "newest") or b"")
            if newest.startswith(UNREAD) and self._known(newest) | {"digest": ""} == content | {"digest": ""}:
                return self._found(name, newest)
            content = {**content, "digest": f"{UNREAD}{new_id()}"}
            with self._redis.pipeline() as pipeline:
                self._forget_rejected(pipeline, name)
                self._keep(pipeline, content)
                self._name(pipeline, name, content["digest"], time.time())
                pipeline.sadd(keyspace.imports(), f"{self.kind} {content['digest']}")
                pipeline.execute()
            return self._found(name, content["digest"])

    def _forget_rejected(self, pipeline: Pipeline, name: str) -> None:
        """What could not be read under a name before goes when it is put anew: nothing else could name it."""
        for key in self._uploads(name):
            if key.startswith(UNREAD) and self._known(key)["status"] == "rejected":
                pipeline.hdel(keyspace.uploads(self.kind, name), key)
                pipeline.delete(keyspace.content(self.kind, key), keyspace.names_of(self.kind, key))

    def _take_name(self, pipeline: Pipeline, key: str, digest: str) -> str:
        """Move the name of the content from its key to its digest; the name.

        Raises RecordNotFound where the content was deleted meanwhile.
        """
        names = texts(self._redis.smembers(keyspace.names_of(self.kind, key)))
        if self._known(key)["status"] == "rejected" or not names:
            raise RecordNotFound(f"the {self.kind} was deleted, or given up, while it was read")
        name = names[0]
        newest = self._redis.hget(keyspace.pointers(self.kind, name), "newest")
        at = self._uploads(name)[key]
        pipeline.delete(keyspace.content(self.kind, key), keyspace.names_of(self.kind, key))
        pipeline.hdel(keyspace.uploads(self.kind, name), key)
        pipeline.set(keyspace.imported(key), digest)
        self._name(pipeline, name, digest, at)
        if newest is not None and text(newest) != key:
            # What was uploaded meanwhile stays the newest.
            pipeline.hset(keyspace.pointers(self.kind, name), "newest", text(newest))
        return name

    def _forgotten(self, digest: str, content: Json) -> None:
        if digest.startswith(UNREAD):
            self._redis.srem(keyspace.imports(), f"{self.kind} {digest}")
        else:
            super()._forgotten(digest, content)


def unawaited(digest: str) -> None:
    """Nobody waits for it."""
