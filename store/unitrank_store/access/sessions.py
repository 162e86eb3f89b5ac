"""Sessions of people who signed in to the page with an API key.

A browser gets a random token. The store holds only the token's hash, and the id of the API key. A
session ends after 12 hours, or when its key is revoked.
"""

import hashlib
import secrets

import redis

from unitrank_store.access.api_keys import Key, KeyStore
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text

SECONDS = 12 * 3600
"""Lifetime of a session."""


class SessionStore:
    """The sessions of one store."""

    def __init__(self, connection: redis.Redis, keys: KeyStore) -> None:
        self._redis = connection
        self._keys = keys

    def open(self, key: Key) -> str:
        """Start a session for an API key, and return its token.

        The token does not contain the secret.
        """
        token = secrets.token_urlsafe(32)
        self._redis.set(_redis_key(token), key.id, ex=SECONDS)
        return token

    def key(self, token: str) -> Key | None:
        """Return the API key of a session; None if the session has ended or the key was revoked."""
        id = self._redis.get(_redis_key(token))
        return None if id is None else self._keys.get(text(id))

    def close(self, token: str) -> None:
        """Delete a session: its token is rejected from now on."""
        self._redis.delete(_redis_key(token))


def _redis_key(token: str) -> str:
    # A fast hash is enough for 256 random bits, which cannot be guessed.
    return keyspace.session(hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest())
