"""Which URLs a webhook may be posted to: a stranger names them, so each is read as text first, then by its addresses.

A name is resolved once for each attempt, every address it stands for must be public, and only these are connected to:
a name that means something else a moment later leads nowhere. What the operator trusts by name may be anywhere.
"""

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx

LONGEST_URL = 2048
PORTS = (443, 8443)
"""Where others than trusted hosts may listen."""
RESOLVE_SECONDS = 5.0

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""The addresses that a name stands for. Raises OSError."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
# A name whose last part is a number is read as an address by resolvers: 2130706433, 0x7f.1, 127.1.
_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)")

# IANA's registries of special-purpose addresses. `ipaddress` knows most of them, which ones depends on Python's version.
_SPECIAL = tuple(
    IPv4Network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_GLOBAL = IPv6Network("2000::/3")
# Teredo and the rest of 2001::/23, documentation, 6to4, the root's own.
_SPECIAL_6 = tuple(IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
# The way to an IPv4 address where there is IPv6 alone; what it leads to is its last four bytes.
_NAT64 = IPv6Network("64:ff9b::/96")


class UrlNotAllowed(Exception):
    """Nothing is posted there; `code` is stable, the message never has the URL."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class WebhookUrl:
    """A URL in parts; `host` is a name in ASCII or an address without brackets, `target` path and query."""

    scheme: str
    host: str
    port: int
    target: bytes

    @classmethod
    def parse(cls, text: str) -> "WebhookUrl":
        """Raises UrlNotAllowed for what is no plain URL of the web."""
        if len(text) > LONGEST_URL or not text.isprintable() or " " in text or "\\" in text:
            raise _malformed("it is too long or holds characters that no URL has")
        if not text.lower().startswith(("https://", "http://")):
            raise _malformed("expected something like 'https://example.org/hook'")
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError) as error:
            raise _malformed("it is not a URL") from error
        authority = re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]
        if "@" in authority or "#" in text or "%" in authority:
            raise _malformed("users, passwords, fragments, zones and '%' in the host have no place in it")
        if not 0 < (port := _DEFAULT_PORTS[url.scheme] if url.port is None else url.port) < 65536:
            raise _malformed("its port is none")
        host = url.raw_host.decode("ascii").strip("[]").lower().removesuffix(".")
        if _address(host) is None:
            _check_name(host)
        return cls(url.scheme, host, port, url.raw_path)

    @property
    def authority(self) -> str:
        """As the `Host` header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_trusted(trusted: Sequence[str]) -> None:
    """Raises ValueError for what is neither `host`, `host:port` nor a network."""
    UrlPolicy(trusted)


class UrlPolicy:
    """The operator's list: `host`, `host:port` or a network such as `10.1.0.0/16`. Raises ValueError for what is neither."""

    def __init__(self, trusted: Sequence[str], resolve: Resolve | None = None) -> None:
        self._networks = tuple(_network(entry) for entry in trusted if "/" in entry)
        self._hosts = frozenset(_host_and_port(entry) for entry in trusted if "/" not in entry)
        self._resolve = resolve or resolved

    def check(self, url: str) -> WebhookUrl:
        """What can be said before anything is resolved. Raises UrlNotAllowed."""
        destination = WebhookUrl.parse(url)
        if self._trusts(destination):
            return destination
        if destination.scheme != "https":
            raise _refused("it must be https, unless the operator trusts the host (UNITRANK_WEBHOOK_HOSTS)")
        if destination.port not in PORTS:
            raise _refused(f"its port must be one of {', '.join(map(str, PORTS))}, unless the operator trusts the host")
        address = _address(destination.host)
        if address is not None and not is_public(address):
            raise _refused("its address is not public, and the operator does not trust it")
        if address is None and "." not in destination.host:
            raise _refused("its host is not the full name of a host on the internet")
        return destination

    def addresses(self, destination: WebhookUrl) -> Sequence[str]:
        """What may be connected to now, and nothing else. Raises UrlNotAllowed, and OSError where the name cannot be resolved."""
        literal = _address(destination.host)
        addresses = [destination.host] if literal is not None else self._resolve(destination.host, destination.port)
        if not addresses:
            raise OSError("the name has no address")
        if not self._trusts(destination) and not all(map(self._may_reach, addresses)):
            raise _refused("the host has an address that is not public")
        return addresses

    def _trusts(self, destination: WebhookUrl) -> bool:
        named = {(destination.host, None), (destination.host, destination.port)}
        address = _address(destination.host)
        return bool(named & self._hosts) or (address is not None and self._in_network(address))

    def _may_reach(self, text: str) -> bool:
        address = _address(text)
        return address is not None and (is_public(address) or self._in_network(address))

    def _in_network(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Whether anyone on the internet may have it, and nothing else is reached by it."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _SPECIAL)
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    # Whatever lies outside is this machine's or its network's own, or an IPv4 address in disguise.
    return address in _GLOBAL and address.is_global and not any(address in network for network in _SPECIAL_6)


def resolved(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says, if it does so soon enough. Raises OSError."""
    results: list[Sequence[str] | OSError] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            results.append(list(dict.fromkeys(str(answer[4][0]) for answer in answers)))
        except (OSError, UnicodeError) as error:
            results.append(OSError(f"the name cannot be resolved: {error}"))

    # The resolver knows no time limit: whoever waits for it has one.
    asking = threading.Thread(target=ask, name="resolve", daemon=True)
    asking.start()
    asking.join(RESOLVE_SECONDS)
    if not results:
        raise TimeoutError("the name was not resolved in time")
    if isinstance(results[0], OSError):
        raise results[0]
    return results[0]


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _check_name(host: str) -> None:
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise _malformed("its host is neither a name nor an address")
    if _NUMBER.fullmatch(host):
        raise _malformed("an address is written as four decimal numbers, or as IPv6 in brackets")


def _network(entry: str) -> Network:
    try:
        return ipaddress.ip_network(entry)
    except ValueError as error:
        raise _unknown(entry) from error


def _host_and_port(entry: str) -> tuple[str, int | None]:
    if _address(entry.strip("[]")) is not None:
        return entry.strip("[]").lower(), None
    host, separator, port = entry.rpartition(":")
    host = (host if separator else entry).strip("[]").lower().removesuffix(".")
    if (_address(host) is None and not _NAME.fullmatch(host)) or (separator and not port.isdecimal()):
        raise _unknown(entry)
    return host, int(port) if separator else None


def _unknown(entry: str) -> ValueError:
    return ValueError(f"{entry!r} is no host, host:port or network that webhooks may be sent to")


def _malformed(reason: str) -> UrlNotAllowed:
    return UrlNotAllowed("webhook_malformed", f"the webhook's URL cannot be used: {reason}")


def _refused(reason: str) -> UrlNotAllowed:
    return UrlNotAllowed("webhook_not_allowed", f"nothing is posted to the webhook's URL: {reason}")
