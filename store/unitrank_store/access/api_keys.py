"""API keys, each with scopes, a tenant, a limit of jobs and a secret for webhooks.

The store holds only a hash of a key's own secret, which is shown once.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import redis
import redis.asyncio

from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.record import DEFAULT_TENANT
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, text_fields, texts

Scope = Literal["read", "write", "models", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "unitrank"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Key:
    """An API key without its secret.

    `id`: the part of the secret that is not confidential.
    `created_at`: unix time, in seconds.
    `limit`: maximum number of unfinished jobs; None means the operator's limit for each key.
    """

    id: str
    name: str
    scopes: frozenset[str]
    tenant: str
    created_at: float
    limit: int | None = None

    def may(self, scope: str) -> bool:
        """Return whether the key has the scope; a key with the scope `admin` has every scope."""
        return scope in self.scopes or "admin" in self.scopes


ANYONE = Key("", "anyone", frozenset(SCOPES), DEFAULT_TENANT, 0.0)
"""The key of every request while the store has no keys."""


class KeyStore:
    """The API keys of one store."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def create(self, name: str, scopes: Collection[str], tenant: str = DEFAULT_TENANT, limit: int | None = None) -> tuple[Key, str]:
        """Create a key; return it and its secret, which cannot be read later.

        Raises ValueError for unknown scopes or a malformed tenant.
        """
        if not scopes or not set(scopes) <= set(SCOPES):
            raise ValueError(
                f"the scopes {', '.join(sorted(scopes)) or '(none)'} are invalid: choose one or more of {', '.join(SCOPES)}"
            )
        if not _TENANT.fullmatch(tenant):
            raise ValueError(
                f"the tenant {tenant!r} is invalid: use 1 to 64 letters, digits, dots, dashes and underscores, "
                "beginning with a letter or digit"
            )
        key = Key(secrets.token_hex(6), name, frozenset(scopes), tenant, time.time(), limit)
        secret = f"{_PREFIX}_{key.id}_{_random()}"
        with self._redis.pipeline() as pipeline:
            pipeline.hset(keyspace.key(key.id), mapping=_encoded(key, secret))
            pipeline.zadd(keyspace.keys(), {key.id: key.created_at})
            pipeline.execute()
        return key, secret

    def verify(self, secret: str) -> Key | None:
        """Return the key with this secret; None if no key has it.

        The comparison takes the same time for every stored hash, so that its duration reveals
        nothing.
        """
        prefix, _, rest = secret.partition("_")
        id = rest.partition("_")[0]
        fields = self._fields(id) if prefix == _PREFIX and id.isalnum() and id.isascii() else {}
        is_right = hmac.compare_digest(_hash(secret), fields.get("hash", ""))
        return _decoded(id, fields) if is_right else None

    def get(self, id: str) -> Key | None:
        """Return the key; None if it was revoked."""
        fields = self._fields(id)
        return _decoded(id, fields) if fields else None

    def list(self) -> tuple[Key, ...]:
        """Return all keys, the oldest first."""
        keys = {id: self._fields(id) for id in texts(self._redis.zrange(keyspace.keys(), 0, -1))}
        return tuple(_decoded(id, fields) for id, fields in keys.items() if fields)

    def tenants(self) -> set[str]:
        """Return the tenants of all keys."""
        return {key.tenant for key in self.list()}

    def revoke(self, id: str) -> None:
        """Delete a key: the service rejects later requests with this key. Raises RecordNotFound."""
        with self._redis.pipeline() as pipeline:
            pipeline.delete(keyspace.key(id))
            pipeline.zrem(keyspace.keys(), id)
            pipeline.hdel(keyspace.webhook_secrets(), id)
            deleted, *_ = pipeline.execute()
        if not deleted:
            raise RecordNotFound(f"key {id!r} not found")

    def webhook_secret(self, id: str) -> str:
        """Return the secret that signs the webhooks of a key's jobs. The first call creates it.

        `id`: the key's id; empty for jobs that were created without a key. Raises RecordNotFound.
        """
        if id and not self._redis.exists(keyspace.key(id)):
            raise RecordNotFound(f"key {id!r} not found")
        # Read before write: a server whose memory is full would reject the write.
        if (secret := self._redis.hget(keyspace.webhook_secrets(), id)) is not None:
            return text(secret)
        self._redis.hsetnx(keyspace.webhook_secrets(), id, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
        return text(self._redis.hget(keyspace.webhook_secrets(), id))

    def any(self) -> bool:
        """Return whether the store has at least one key."""
        return bool(self._redis.exists(keyspace.keys()))

    def _fields(self, id: str) -> dict[str, str]:
        return text_fields(self._redis.hgetall(keyspace.key(id)))


async def is_stored(connection: redis.asyncio.Redis, id: str) -> bool:
    """Return whether a key exists, so that a request that waits ends when its key is revoked.

    `id`: the key's id; that of `ANYONE` exists always.
    """
    return id == ANYONE.id or bool(await connection.exists(keyspace.key(id)))


def _random() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def _hash(secret: str) -> str:
    # A fast hash is enough for 256 random bits, which cannot be guessed.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _encoded(key: Key, secret: str) -> dict[Any, Any]:
    # Any: the type that redis-py declares for a hash
    scopes = json.dumps(sorted(key.scopes))
    return {
        "name": key.name,
        "scopes": scopes,
        "tenant": key.tenant,
        "created_at": str(key.created_at),
        "limit": json.dumps(key.limit),
        "hash": _hash(secret),
    }


def _decoded(id: str, fields: Mapping[str, str]) -> Key:
    scopes = frozenset(json.loads(fields["scopes"]))
    return Key(id, fields["name"], scopes, fields["tenant"], float(fields["created_at"]), json.loads(fields.get("limit", "null")))
