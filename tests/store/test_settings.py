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
            "UNITRANK_REDIS_URL: not a valid address of a store: expected an address such as redis://:password@host:6379/0",
        ),
        ({"redis_url": "redis://:sek/ret@host:1/0"}, "UNITRANK_REDIS_URL: not a valid address of a store"),
        ({"redis_url": "rediss://:sek@host/0?ssl_cert_reqs=maybe"}, "UNITRANK_REDIS_URL: not a valid address of a store"),
        ({"redis_url": "redis://:sek@host:1,other:1/0"}, "UNITRANK_REDIS_URL: not a valid address of a store"),
        ({"redis_url": "redis://:sek@host/0?unknown=1"}, "UNITRANK_REDIS_URL: not a valid address of a store"),
        ({"redis_url": "redis://host/0?ssl_ca_certs=/a&password=sek"}, "UNITRANK_REDIS_URL: not a valid address of a store"),
        ({"redis_url": "redis://host/0?socket_timeout=soon&password=sek"}, "UNITRANK_REDIS_URL: not a valid address of a store"),
        (
            {"redis_url": "redis://:sek@host/0?decode_responses=true"},
            "UNITRANK_REDIS_URL: the option decode_responses",
        ),
        (
            {"redis_url": "rediss://:sek@host/0?ssl_ca_certs=/no/ca.pem"},
            "UNITRANK_REDIS_URL: ssl_ca_certs names a file",
        ),
        ({"redis_url": "redis+sentinel://:sek@host:26379/main/0"}, "UNITRANK_REDIS_URL: redis+sentinel:// is not supported"),
        ({"redis_url": "redis+cluster://:sek@host:26379"}, "UNITRANK_REDIS_URL: redis+cluster:// is not supported"),
        (
            {"hosts": "rank.example.org:8000"},
            "UNITRANK_HOSTS: 'rank.example.org:8000' is not a host name; write a name without scheme and port",
        ),
        ({"hosts": "https://rank.example.org"}, "UNITRANK_HOSTS: 'https://rank.example.org' is not a host name"),
        (
            {"root_path": "unitrank"},
            "UNITRANK_ROOT_PATH: 'unitrank' is not a path prefix; write a path",
        ),
        ({"root_path": "/unitrank/"}, "UNITRANK_ROOT_PATH: '/unitrank/' is not a path prefix"),
        ({"root_path": "//evil"}, "UNITRANK_ROOT_PATH: '//evil' is not a path prefix"),
        ({"root_path": "/a/../b"}, "UNITRANK_ROOT_PATH: '/a/../b' is not a path prefix"),
        ({"root_path": "https://rank.example.org/a"}, "UNITRANK_ROOT_PATH: 'https://rank.example.org/a' is not a path prefix"),
        (
            {"cors_origins": "*"},
            "UNITRANK_CORS_ORIGINS: '*' is not an origin; write scheme and host, and a port if there is one, without a path",
        ),
        ({"cors_origins": "https://a.example,https://b.example/"}, "UNITRANK_CORS_ORIGINS: 'https://b.example/' is not an origin"),
        ({"cors_origins": "https://a.example/app"}, "UNITRANK_CORS_ORIGINS: 'https://a.example/app' is not an origin"),
        ({"cors_origins": "https://*.example.org"}, "UNITRANK_CORS_ORIGINS: 'https://*.example.org' is not an origin"),
        ({"cors_origins": "https://me@a.example"}, "UNITRANK_CORS_ORIGINS: 'https://me@a.example' is not an origin"),
        ({"cors_origins": "https://a.example?"}, "UNITRANK_CORS_ORIGINS: 'https://a.example?' is not an origin"),
        ({"cors_origins": "null"}, "UNITRANK_CORS_ORIGINS: 'null' is not an origin"),
        ({"cors_origins": "app.example.org"}, "UNITRANK_CORS_ORIGINS: 'app.example.org' is not an origin"),
        (
            {"trusted_proxies": "proxy.example"},
            "UNITRANK_TRUSTED_PROXIES: 'proxy.example' is not an address of a proxy",
        ),
        ({"blobs": "nope://x"}, "UNITRANK_BLOBS: Protocol not known: nope"),
        ({"blobs": "gs://bucket/x"}, "UNITRANK_BLOBS: the driver of gs:// is not installed"),
        ({"port": 70000}, "UNITRANK_PORT: must be less than or equal to 65535, not 70000"),
        ({"failure_ttl": 0}, "UNITRANK_FAILURE_TTL: must be greater than 0, not 0"),
        (
            {"port": -1, "queue_limit": -2},
            "UNITRANK_PORT: must be greater than or equal to 0, not -1; UNITRANK_QUEUE_LIMIT: must be",
        ),
        ({"children": 0}, "UNITRANK_CHILDREN: must be greater than or equal to 1, not 0"),
        ({"idle_children_bytes": "4GiB"}, "UNITRANK_IDLE_CHILDREN_BYTES: must be a valid integer, not '4GiB'"),
        ({"insecure": "perhaps"}, "UNITRANK_INSECURE: must be a valid boolean, not 'perhaps'"),
        ({"confinement": "yes"}, "UNITRANK_CONFINEMENT: must be 'require', 'try' or 'off', not 'yes'"),
        ({"log_format": "xml"}, "UNITRANK_LOG_FORMAT: must be 'people' or 'json', not 'xml'"),
        (
            {"readable_folders": "/srv/a,vocabularies"},
            "UNITRANK_READABLE_FOLDERS: 'vocabularies' is not an absolute path",
        ),
        ({"heartbeat": 30}, "UNITRANK_HEARTBEAT_GRACE is 15 s; it must be more than UNITRANK_HEARTBEAT, 30 s"),
    ],
)
def test_settings_when_malformed_then_each_is_named_in_one_line(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSettings) as error:
        Settings.read(**overrides)

    assert str(error.value).startswith(f"settings are wrong; {message}")
    assert "\n" not in str(error.value)
    assert "sek" not in str(error.value)


@pytest.mark.parametrize("variable", ["UNITRANK_REDIS_URL", "UNITRANK_WARM_MODELS"])
def test_settings_when_a_variable_is_malformed_then_the_message_names_it(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "nonsense")

    with pytest.raises(BadSettings, match=f"^settings are wrong; {variable}: "):
        Settings.read()


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
