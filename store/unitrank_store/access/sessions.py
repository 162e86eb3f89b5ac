"""Sessions of people who signed in with a key: a random word that is stored as a hash, and ends with its key or by itself."""

import hashlib
import secrets

import redis

from unitrank_store.access.api_keys import Key, KeyStore
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text

SECONDS = 12 * 3600


class SessionStore:
    """The sessions of one store."""

    def __init__(self, connection: redis.Redis, keys: KeyStore) -> None:
        self._redis = connection
        self._keys = keys

    def open(self, key: Key) -> str:
        """The word that stands for the key for the next `SECONDS`; the key's own secret is not in it."""
        word = secrets.token_urlsafe(32)
        self._redis.set(_name(word), key.id, ex=SECONDS)
        return word

    def key(self, word: str) -> Key | None:
        """The key as it is now; None where the session is over, or the key was revoked."""
        id = self._redis.get(_name(word))
        return None if id is None else self._keys.get(text(id))

    def close(self, word: str) -> None:
        """The word opens nothing any more."""
        self._redis.delete(_name(word))


def _name(word: str) -> str:
    # 256 random bits need no slow hash.
    return keyspace.session(hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest())
