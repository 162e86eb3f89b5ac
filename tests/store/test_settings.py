"""Settings: accepted values, and the errors for all others."""

from pathlib import Path
from typing import Any

import pytest

from unitrank_store.settings import BadSettings, Settings


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"redis_url": "nonsense"},
            "redis_url: not a valid address of a store: expected an address such as redis://:password@host:6379/0",
        ),
        ({"redis_url": "redis://:sek/ret@host:1/0"}, "redis_url: not a valid address of a store"),
        ({"redis_url": "redis://:sek@host:1,other:1/0"}, "redis_url: not a valid address of a store"),
        ({"redis_url": "redis://:sek@host/0?unknown=1"}, "redis_url: not a valid address of a store"),
        ({"redis_url": "redis://host/0?ssl_ca_certs=/a&password=sek"}, "redis_url: not a valid address of a store"),
        ({"redis_url": "redis://host/0?socket_timeout=soon&password=sek"}, "redis_url: not a valid address of a store"),
        ({"redis_url": "redis://:sek@host/0?decode_responses=true"}, "redis_url: the option decode_responses is not possible"),
        ({"redis_url": "rediss://:sek@host/0?ssl_ca_certs=/no/ca.pem"}, "redis_url: ssl_ca_certs names a file that cannot be read"),
        ({"redis_url": "redis+sentinel://:sek@host:26379/main/0"}, "redis_url: redis+sentinel:// is not supported"),
        ({"redis_url": "redis+cluster://:sek@host:26379"}, "redis_url: redis+cluster:// is not supported"),
        (
            {"hosts": "rank.example.org:8000"},
            "hosts: 'rank.example.org:8000' is not a host name; write a name without scheme and port",
        ),
        ({"hosts": "https://rank.example.org"}, "hosts: 'https://rank.example.org' is not a host name"),
        ({"root_path": "unitrank"}, "root_path: 'unitrank' is not a path prefix; write a path that begins with / and does not end"),
        ({"root_path": "/unitrank/"}, "root_path: '/unitrank/' is not a path prefix"),
        ({"root_path": "//evil"}, "root_path: '//evil' is not a path prefix"),
        ({"root_path": "/a/../b"}, "root_path: '/a/../b' is not a path prefix"),
        ({"root_path": "https://rank.example.org/a"}, "root_path: 'https://rank.example.org/a' is not a path prefix"),
        (
            {"cors_origins": "*"},
            "cors_origins: '*' is not an origin; write scheme and host, and a port if there is one, without a path",
        ),
        ({"cors_origins": "https://a.example,https://b.example/"}, "cors_origins: 'https://b.example/' is not an origin"),
        ({"cors_origins": "https://a.example/app"}, "cors_origins: 'https://a.example/app' is not an origin"),
        ({"cors_origins": "https://*.example.org"}, "cors_origins: 'https://*.example.org' is not an origin"),
        ({"cors_origins": "https://me@a.example"}, "cors_origins: 'https://me@a.example' is not an origin"),
        ({"cors_origins": "https://a.example?"}, "cors_origins: 'https://a.example?' is not an origin"),
        ({"cors_origins": "null"}, "cors_origins: 'null' is not an origin"),
        ({"cors_origins": "app.example.org"}, "cors_origins: 'app.example.org' is not an origin"),
        ({"trusted_proxies": "proxy.example"}, "trusted_proxies: 'proxy.example' is not an address of a proxy; write an address"),
        ({"blobs": "nope://x"}, "blobs: Protocol not known: nope"),
        ({"blobs": "gs://bucket/x"}, "blobs: the driver of gs:// is not installed"),
        ({"port": 70000}, "port: Input should be less than or equal to 65535"),
        ({"failure_ttl": 0}, "failure_ttl: Input should be greater than 0"),
        ({"port": -1, "queue_limit": -1}, "port: Input should be greater than or equal to 0; queue_limit: Input should be"),
        ({"heartbeat": 30}, "heartbeat_grace is 15 s; must be more than heartbeat, 30 s"),
    ],
)
def test_settings_when_malformed_then_each_is_named_in_one_line(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSettings) as error:
        Settings.read(**overrides)

    assert str(error.value).startswith(f"settings are wrong; {message}")
    assert "\n" not in str(error.value)
    assert "sek" not in str(error.value)


def test_settings_when_the_user_has_no_home_then_the_message_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("UNITRANK_STATE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)

    with pytest.raises(BadSettings, match="UNITRANK_STATE is not set, and this user has no home folder"):
        Settings.read()


def test_settings_when_passed_then_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITRANK_PORT", "1")
    monkeypatch.setenv("UNITRANK_HOSTS", " a.example , B.example.,fd00::1,[::2],10.0.0.1,")
    monkeypatch.setenv("REDIS_URL", "unix:///run/store.sock?db=1")
    settings = Settings.read(port=2, host=None)

    assert (settings.port, settings.host, settings.hosts) == (
        2,
        "127.0.0.1",
        ("a.example", "b.example", "[fd00::1]", "[::2]", "10.0.0.1"),
    )
    assert settings.redis_url == "unix:///run/store.sock?db=1"


def test_settings_of_proxies_and_origins_when_valid_then_are_written_as_requests_write_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8, fd00::1,*")
    origins = "HTTPS://App.example.org:443,http://localhost:5173,http://[::1]:80"
    settings = Settings.read(root_path="/a.b/~c", cors_origins=origins)

    assert settings.cors_origins == ("https://app.example.org", "http://localhost:5173", "http://[::1]")
    assert settings.trusted_proxies == ("10.0.0.0/8", "fd00::1", "*")
    assert settings.root_path == "/a.b/~c"
    assert Settings.read(root_path="", trusted_proxies="").trusted_proxies == ()
