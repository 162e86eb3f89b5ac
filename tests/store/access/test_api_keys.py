"""API keys on a real store."""

import pytest
import redis

from unitrank_store.access.api_keys import SCOPES, KeyStore
from unitrank_store.errors import RecordNotFound


@pytest.fixture
def keys(connection: redis.Redis) -> KeyStore:
    return KeyStore(connection)


def test_verify_when_the_secret_is_right_gives_the_key(keys: KeyStore) -> None:
    key, secret = keys.create("ci", ["write", "read"], tenant="lab")

    assert secret.startswith(f"unitrank_{key.id}_")
    assert keys.verify(secret) == key
    assert (key.name, key.scopes, key.tenant) == ("ci", frozenset({"read", "write"}), "lab")


def test_secrets_are_stored_as_hashes_only(keys: KeyStore, connection: redis.Redis) -> None:
    _, secret = keys.create("ci", ["read"])
    random = secret.split("_", 2)[2].encode()
    stored = [connection.dump(name) for name in connection.keys("*")]

    assert stored
    assert not any(random in (value or b"") for value in stored)


def test_secrets_of_two_keys_differ_and_hold_256_bits(keys: KeyStore) -> None:
    secrets = {keys.create("same", ["read"])[1] for _ in range(20)}

    assert len(secrets) == 20
    assert all(len(secret.split("_", 2)[2]) == 43 for secret in secrets)


def test_verify_when_anything_is_wrong_gives_none(keys: KeyStore) -> None:
    key, secret = keys.create("ci", ["read"])
    _, other_secret = keys.create("other", ["read"])
    wrong = [
        "",
        "unitrank",
        "unitrank_",
        f"unitrank_{key.id}_",
        secret[:-1],
        secret + "A",
        secret.replace("unitrank", "Unitrank"),
        f"unitrank_{key.id}_{other_secret.split('_', 2)[2]}",
        f"unitrank_{'0' * 12}_{secret.split('_', 2)[2]}",
        "unitrank_*_x",
        "unitrank_é_\ud800",
    ]

    assert [keys.verify(text) for text in wrong] == [None] * len(wrong)


def test_revoke_closes_the_key_and_only_that_one(keys: KeyStore) -> None:
    key, secret = keys.create("ci", ["read"])
    other_key, other_secret = keys.create("other", ["admin"])
    keys.revoke(key.id)

    assert keys.verify(secret) is None
    assert keys.verify(other_secret) == other_key
    assert keys.list() == (other_key,)
    with pytest.raises(RecordNotFound, match=key.id):
        keys.revoke(key.id)


def test_any_when_keys_are_stored_then_is_true(keys: KeyStore) -> None:
    before = keys.any()
    key, _ = keys.create("ci", list(SCOPES))
    during = keys.any()
    keys.revoke(key.id)

    assert (before, during, keys.any()) == (False, True, False)


def test_list_shows_the_oldest_first(keys: KeyStore) -> None:
    created = [keys.create(f"key {index}", ["read"])[0] for index in range(3)]

    assert list(keys.list()) == created


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "everything"]])
def test_create_when_scopes_are_wrong_refuses(keys: KeyStore, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="are invalid: choose"):
        keys.create("ci", scopes)

    assert not keys.any()
