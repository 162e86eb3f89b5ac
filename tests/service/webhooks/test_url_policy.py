"""The policy for the URLs of webhooks."""

import threading
from ipaddress import ip_address
from typing import Any

import pytest

from tests.service.webhooks.network import PUBLIC, PUBLIC_6, Network, Resolver, post
from tests.support.polling import wait_until
from unitrank_service.webhooks.url_policy import BriefResolver, UrlNotAllowed, UrlPolicy, WebhookUrl, is_public, resolved

LITERALS = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.5", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7"),
    *("203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("[::1]", "[::]", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[2001:db8::1]", "[100::1]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[0:0:0:0:0:ffff:a9fe:a9fe]"),
    *("[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]"),
    *("[2001:0:7f00:1::]", "[2001::1]", "[3fff::1]", "[5f00::1]", "[::ffff:8.8.8.8]"),
]


MALFORMED = [
    *("https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://017700000001/"),
    *(
        "https://127.1/",
        "https://127.0.1/",
        "https://0/",
        "https://0x/",
        "https://a.0x7f/",
        "https://1.2.3.4.5/",
        "https://999.1.1.1/",
    ),
    *("https://user@example.org/", "https://user:word@example.org/", "https://@example.org/", "https://example.org@127.0.0.1/"),
    *("https://example.org/#part", "https://example.org#@127.0.0.1/", "https://example.org\\@127.0.0.1/", "https://exa%6dple.org/"),
    *(
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[::1/",
        "https:///hook",
        "https://",
        "https:hook",
        "hook",
        "",
    ),
    *(
        "ftp://example.org/",
        "gopher://example.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:,x",
        "unix:///run/redis.sock",
    ),
    *(
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org:x/",
        "https://exa mple.org/",
        " https://example.org",
    ),
    *(
        "https://example.org/\r\nX: y",
        "https://example.org/\x00",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://ex_\u200bample.org/",
    ),
    *("https://-a.example/", "https://a..b/", "https://" + "a" * 64 + ".example/", "https://example.org/" + "a" * 2048),
]


REFUSED = [
    *("http://example.org/", "http://127.0.0.1/", "http://127.0.0.1:6379/", "https://example.org:22/", "https://example.org:6379/"),
    *("https://localhost/", "https://localhost./", "https://LOCALHOST/", "https://metadata/", "https://redis:8443/"),
    *("https://127\u30020\u30020\u30021/", "https://127.0.0.1./"),
]


@pytest.mark.parametrize("host", LITERALS)
def test_webhook_when_its_address_is_not_public_then_is_rejected_without_a_lookup(host: str) -> None:
    resolver, network = Resolver(), Network()

    with pytest.raises(UrlNotAllowed) as refused:
        post(f"https://{host}/hook", resolver, network)
    assert refused.value.code == "webhook_not_allowed"
    assert (resolver.lookups, network.connected) == ([], [])


@pytest.mark.parametrize(
    ("code", "url"), [*(("webhook_malformed", url) for url in MALFORMED), *(("webhook_not_allowed", url) for url in REFUSED)]
)
def test_webhook_when_its_url_is_not_plain_then_is_rejected_without_a_lookup(code: str, url: str) -> None:
    resolver, network = Resolver(), Network()

    with pytest.raises(UrlNotAllowed) as refused:
        post(url, resolver, network)
    assert refused.value.code == code
    assert "secret" not in refused.value.detail
    assert (resolver.lookups, network.connected) == ([], [])


@pytest.mark.parametrize("address", [host.strip("[]") for host in LITERALS])
def test_webhook_when_its_name_has_an_address_that_is_not_public_then_nothing_is_connected(address: str) -> None:
    network = Network()

    for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(UrlNotAllowed, match="not public"):
            post("https://hook.example/", Resolver(hook_example=[answer]), network)
    assert network.connected == []


@pytest.mark.parametrize("address", ["fe80::1%2", "not an address", "2130706433", ""])
def test_webhook_when_its_resolver_returns_an_invalid_address_then_nothing_is_connected(address: str) -> None:
    network = Network()

    with pytest.raises(UrlNotAllowed):
        post("https://hook.example/", Resolver(hook_example=[[address]]), network)
    with pytest.raises(OSError, match="no address"):
        post("https://hook.example/", Resolver(hook_example=[[]]), network)
    assert network.connected == []


def test_webhook_when_its_name_is_rebound_then_only_checked_addresses_are_connected() -> None:
    resolver, network = Resolver(hook_example=[[PUBLIC], ["127.0.0.1"]]), Network()

    assert post("https://hook.example/", resolver, network) == 200
    assert (resolver.lookups, network.connected) == (["hook.example"], [(PUBLIC, 443)])
    with pytest.raises(UrlNotAllowed):
        post("https://hook.example/", resolver, network)
    assert network.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    ("trusted", "url", "reached"),
    [
        ("hooks.internal", "http://hooks.internal/x", ("10.0.0.5", 80)),
        ("hooks.internal", "https://HOOKS.internal.:9000/x", ("10.0.0.5", 9000)),
        ("hooks.internal:9000", "http://hooks.internal:9000/x", ("10.0.0.5", 9000)),
        ("10.0.0.5:8080", "http://10.0.0.5:8080/", ("10.0.0.5", 8080)),
        ("10.0.0.0/8", "http://10.0.0.5:8080/", ("10.0.0.5", 8080)),
        ("10.0.0.0/8", "https://hooks.internal/", ("10.0.0.5", 443)),
        ("::1", "http://[::1]:8080/", ("::1", 8080)),
        ("[::1]:8080", "http://[::1]:8080/", ("::1", 8080)),
        ("fd00::/8", "http://[fd00::1]/", ("fd00::1", 80)),
    ],
)
def test_webhook_when_the_operator_trusts_its_host_then_is_posted(trusted: str, url: str, reached: tuple[str, int]) -> None:
    network = Network()

    assert post(url, Resolver(hooks_internal=[["10.0.0.5"]]), network, [trusted]) == 200
    assert network.connected == [reached]


@pytest.mark.parametrize(
    ("trusted", "url"),
    [
        ("hooks.internal:9000", "http://hooks.internal/x"),
        ("hooks.internal", "http://other.hooks.internal/"),
        ("hooks.internal", "http://hooks.internal.example/"),
        ("hooks.internal", "http://hooks.internal@127.0.0.1/"),
        ("10.0.0.0/8", "http://11.0.0.1/"),
        ("10.0.0.0/8", "http://hooks.internal/"),
        ("10.0.0.0/8", "https://[::ffff:10.0.0.5]/"),
        ("10.0.0.5:8080", "http://10.0.0.5:8081/"),
    ],
)
def test_webhook_when_the_operator_trusts_another_host_then_is_rejected(trusted: str, url: str) -> None:
    resolver, network = Resolver(hooks_internal=[["10.0.0.5"]]), Network()

    with pytest.raises(UrlNotAllowed):
        post(url, resolver, network, [trusted])
    assert network.connected == []


@pytest.mark.parametrize("entry", ["http://10.0.0.5", "10.0.0.0/99", "a b", "hook:x", "10.0.0.1/8"])
def test_trusted_host_when_invalid_then_is_rejected_at_once(entry: str) -> None:
    with pytest.raises(ValueError, match="is invalid: use a host, host:port or a network"):
        UrlPolicy([entry])


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_6, "1.1.1.1", "8.8.8.8", "2001:4860:4860::8888", "64:ff9b::8.8.8.8"])
def test_address_when_anyone_may_have_it_then_is_public(address: str) -> None:
    assert is_public(ip_address(address))


def test_name_when_the_system_resolves_it_then_each_address_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(None, None, 6, "", (PUBLIC_6, 443, 0, 0)), *[(None, None, 6, "", (PUBLIC, 443))] * 2]
    monkeypatch.setattr("socket.getaddrinfo", lambda *arguments, **more: answers)

    assert resolved("hook.example", 443) == [PUBLIC_6, PUBLIC]


def test_name_when_the_system_takes_too_long_then_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("unitrank_service.webhooks.url_policy.RESOLVE_SECONDS", 0.05)
    monkeypatch.setattr("socket.getaddrinfo", lambda *arguments, **more: [] if over.wait(60) else None)
    try:
        with pytest.raises(TimeoutError):
            resolved("hook.example", 443)
    finally:
        over.set()


def test_brief_resolver_when_all_lookups_are_slow_then_gives_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    over, asked = threading.Event(), []

    def ask(host: str, *arguments: Any, **more: Any) -> list[Any]:
        asked.append(host)
        over.wait(60)
        return [(None, None, 6, "", (PUBLIC, 443))]

    monkeypatch.setattr("socket.getaddrinfo", ask)
    resolve = BriefResolver(lookups=2, seconds=0.05)
    try:
        for name in ("a.example", "b.example"):
            with pytest.raises(TimeoutError):
                resolve(name, 443)
        with pytest.raises(OSError, match="too many names"):
            resolve("c.example", 443)
    finally:
        over.set()
    assert asked == ["a.example", "b.example"]
    wait_until(lambda: resolve("d.example", 443) == [PUBLIC] if resolve._free._value == 2 else False, "the lookups have ended")


def test_posted_webhook_when_its_name_has_a_private_address_then_is_rejected() -> None:
    policy = UrlPolicy(["hooks.internal"], Resolver(hook_example=[["10.0.0.5"]], hooks_internal=[["10.0.0.5"]]))

    with pytest.raises(UrlNotAllowed, match="not public"):
        policy.check_addresses(policy.check("https://hook.example/"))
    policy.check_addresses(policy.check("https://hooks.internal/"))


def test_posted_webhook_when_its_name_cannot_be_resolved_now_then_is_accepted() -> None:
    policy = UrlPolicy([], Resolver())

    policy.check_addresses(policy.check("https://hook.example/"))


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long")])
def test_name_when_the_system_does_not_know_it_then_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def ask(*arguments: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr("socket.getaddrinfo", ask)
    with pytest.raises(OSError, match="cannot be resolved"):
        resolved("hook.example", 443)


def test_webhook_url_when_parsed_then_has_its_parts() -> None:
    assert WebhookUrl.parse("https://Example.org") == WebhookUrl("https", "example.org", 443, b"/")
    assert WebhookUrl.parse("https://example.org:8443/a?b=c").authority == "example.org:8443"
    assert WebhookUrl.parse("http://[FD00::1]:80/").authority == "[fd00::1]"
