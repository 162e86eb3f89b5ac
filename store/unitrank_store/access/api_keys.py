"""API keys: a secret that is shown once and stored as a hash, with scopes, a tenant, a limit, and a secret for webhooks."""

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
    """What may be known about a key; `id` is part of its secret. Times are unix seconds.

    `limit`: so many of its jobs may be unfinished; None: as many as the operator allows each key.
    """

    id: str
    name: str
    scopes: frozenset[str]
    tenant: str
    created_at: float
    limit: int | None = None

    def may(self, scope: str) -> bool:
        """Whether it opens what needs that scope."""
        return scope in self.scopes or "admin" in self.scopes


ANYONE = Key("", "anyone", frozenset(SCOPES), DEFAULT_TENANT, 0.0)
"""Who asks where no keys are stored."""


class KeyStore:
    """The keys of one store."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection

    def create(self, name: str, scopes: Collection[str], tenant: str = DEFAULT_TENANT, limit: int | None = None) -> tuple[Key, str]:
        """A new key and its secret, which cannot be shown again. Raises ValueError for what no key can be."""
        if not scopes or not set(scopes) <= set(SCOPES):
            raise ValueError(f"the scopes {sorted(scopes)} are not a choice of {list(SCOPES)}")
        if not _TENANT.fullmatch(tenant):
            raise ValueError(f"the tenant {tenant!r} must have 1 to 64 letters, digits, dots, dashes and underscores")
        key = Key(secrets.token_hex(6), name, frozenset(scopes), tenant, time.time(), limit)
        secret = f"{_PREFIX}_{key.id}_{_random()}"
        with self._redis.pipeline() as pipeline:
            pipeline.hset(keyspace.key(key.id), mapping=_fields(key, secret))
            pipeline.zadd(keyspace.keys(), {key.id: key.created_at})
            pipeline.execute()
        return key, secret

    def verify(self, secret: str) -> Key | None:
        """The key that this is the secret of. How long it takes says nothing about a stored hash."""
        prefix, _, rest = secret.partition("_")
        id = rest.partition("_")[0]
        stored = self._stored(id) if prefix == _PREFIX and id.isalnum() and id.isascii() else {}
        fits = hmac.compare_digest(_hash(secret), stored.get("hash", ""))
        return _key(id, stored) if fits else None

    def get(self, id: str) -> Key | None:
        """The key; None where it was revoked."""
        stored = self._stored(id)
        return _key(id, stored) if stored else None

    def list(self) -> tuple[Key, ...]:
        """Oldest first."""
        keys = {id: self._stored(id) for id in texts(self._redis.zrange(keyspace.keys(), 0, -1))}
        return tuple(_key(id, stored) for id, stored in keys.items() if stored)

    def revoke(self, id: str) -> None:
        """Requests with this key are refused from now on. Raises RecordNotFound."""
        with self._redis.pipeline() as pipeline:
            pipeline.delete(keyspace.key(id))
            pipeline.zrem(keyspace.keys(), id)
            pipeline.hdel(keyspace.webhook_secrets(), id)
            deleted, *_ = pipeline.execute()
        if not deleted:
            raise RecordNotFound(f"no key {id!r}")

    def webhook_secret(self, id: str) -> str:
        """What webhooks of this key's jobs are signed with, made when it is first asked for. Raises RecordNotFound.

        Without an id: of jobs that came without a key.
        """
        if id and not self._redis.exists(keyspace.key(id)):
            raise RecordNotFound(f"no key {id!r}")
        # Looked for first: a server whose memory is full would refuse the write that is not needed.
        if (secret := self._redis.hget(keyspace.webhook_secrets(), id)) is not None:
            return text(secret)
        self._redis.hsetnx(keyspace.webhook_secrets(), id, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
        return text(self._redis.hget(keyspace.webhook_secrets(), id))

    def any(self) -> bool:
        """Whether there is a key at all."""
        return bool(self._redis.exists(keyspace.keys()))

    def _stored(self, id: str) -> dict[str, str]:
        return text_fields(self._redis.hgetall(keyspace.key(id)))


def _random() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def _hash(secret: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _fields(key: Key, secret: str) -> dict[Any, Any]:
    # Any: as redis-py declares a hash
    scopes = json.dumps(sorted(key.scopes))
    return {
        "name": key.name,
        "scopes": scopes,
        "tenant": key.tenant,
        "created_at": str(key.created_at),
        "limit": json.dumps(key.limit),
        "hash": _hash(secret),
    }


def _key(id: str, stored: Mapping[str, str]) -> Key:
    scopes = frozenset(json.loads(stored["scopes"]))
    return Key(id, stored["name"], scopes, stored["tenant"], float(stored["created_at"]), json.loads(stored["limit"]))
