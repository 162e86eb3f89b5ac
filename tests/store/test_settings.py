"""Settings: accepted values, and the errors for all others."""

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
        (
            {"hosts": "rank.example.org:8000"},
            "hosts: 'rank.example.org:8000' is not a host name; write a name without scheme and port",
        ),
        ({"hosts": "https://rank.example.org"}, "hosts: 'https://rank.example.org' is not a host name"),
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
