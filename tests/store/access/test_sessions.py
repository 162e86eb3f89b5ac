"""Sessions: a random token gives access until the session is closed or the key is revoked."""

import pytest
import redis

from unitrank_store.access.api_keys import KeyStore
from unitrank_store.access.sessions import SECONDS, SessionStore


@pytest.fixture
def keys(connection: redis.Redis) -> KeyStore:
    return KeyStore(connection)


@pytest.fixture
def sessions(connection: redis.Redis, keys: KeyStore) -> SessionStore:
    return SessionStore(connection, keys)


def test_session_when_opened_then_gives_its_key_for_a_time(connection: redis.Redis, keys: KeyStore, sessions: SessionStore) -> None:
    key, _ = keys.create("Ada", ["read"])
    token = sessions.open(key)
    (session,) = connection.keys("*session*")

    assert sessions.key(token) == key
    assert token.encode() not in session
    assert 0 < connection.ttl(session) <= SECONDS


@pytest.mark.parametrize("end", ["closed", "revoked"])
def test_session_when_it_ends_then_gives_no_key(keys: KeyStore, sessions: SessionStore, end: str) -> None:
    key, _ = keys.create("Ada", ["read"])
    token = sessions.open(key)
    {"closed": lambda: sessions.close(token), "revoked": lambda: keys.revoke(key.id)}[end]()

    assert sessions.key(token) is None


@pytest.mark.parametrize("token", ["", "another", "\ud800"])
def test_session_when_the_token_is_wrong_then_gives_no_key(keys: KeyStore, sessions: SessionStore, token: str) -> None:
    sessions.open(keys.create("Ada", ["read"])[0])

    assert sessions.key(token) is None
