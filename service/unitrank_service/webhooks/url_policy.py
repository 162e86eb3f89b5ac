"""The policy for the URLs of webhooks. Clients choose the URLs, so private servers are protected.

First the text of the URL is checked, then the addresses of its host. A host name is resolved when
the job is posted, if that is possible within a second, and once for each attempt. All its addresses
must be public, and the service connects to one of them. A name whose addresses change after the
check (DNS rebinding) therefore has no effect.
The operator can allow private hosts and networks in UNITRANK_WEBHOOK_HOSTS.
"""

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx

LONGEST_URL = 2048
PORTS = (443, 8443)
"""The ports that are allowed for hosts outside UNITRANK_WEBHOOK_HOSTS."""
RESOLVE_SECONDS = 5.0
POST_SECONDS = 1.0
"""Time to resolve a name while a job is posted. Without an answer only the deliveries check it."""
POST_LOOKUPS = 8
"""Names that are resolved at the same time for posted jobs. Slow name servers occupy no more."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""A function from a host name and a port to the addresses of that name. It raises OSError."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
# Resolvers read a name whose last part is a number as an address: 2130706433, 0x7f.1, 127.1.
_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)")

# IANA's registries of special-purpose addresses. `ipaddress` has most of them; the set depends on
# Python's version.
_SPECIAL = tuple(
    IPv4Network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_GLOBAL = IPv6Network("2000::/3")
# Teredo and the rest of 2001::/23, documentation, 6to4, AS112, documentation.
_SPECIAL_6 = tuple(IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
# NAT64 reaches IPv4 from a network with IPv6 only. The last four bytes are the IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


class UrlNotAllowed(Exception):
    """The policy rejects the URL.

    `code` is stable. The message never contains the URL, because the URL may hold secrets.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class WebhookUrl:
    """The parts of a webhook's URL.

    `scheme`: `http` or `https`. `host`: a name in ASCII, or an address without brackets.
    `port`: as in the URL, or the scheme's default. `target`: path and query.
    """

    scheme: str
    host: str
    port: int
    target: bytes

    @classmethod
    def parse(cls, text: str) -> "WebhookUrl":
        """Return the parts of a URL. Raises UrlNotAllowed unless it is a plain http(s) URL."""
        if len(text) > LONGEST_URL:
            raise _malformed(f"it has {len(text)} characters; at most {LONGEST_URL} are allowed")
        if not text.isprintable() or " " in text or "\\" in text:
            raise _malformed("it contains a space, a backslash or an unprintable character; encode it with '%'")
        if not text.lower().startswith(("https://", "http://")):
            raise _malformed("it must begin with https://, such as 'https://example.org/hook'")
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError) as error:
            raise _malformed("it is not a URL; send one such as 'https://example.org/hook'") from error
        authority = re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]
        if "@" in authority or "#" in text or "%" in authority:
            raise _malformed("it must not contain a user, a password, a fragment, a zone or '%' in the host")
        if not 0 < (port := _DEFAULT_PORTS[url.scheme] if url.port is None else url.port) < 65536:
            raise _malformed(f"port {port} is invalid: use a number from 1 to 65535")
        host = url.raw_host.decode("ascii").strip("[]").lower().removesuffix(".")
        if _address(host) is None:
            _check_name(host)
        return cls(url.scheme, host, port, url.raw_path)

    @property
    def authority(self) -> str:
        """The host and port as in the header `Host`; the default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_trusted(trusted: Sequence[str]) -> None:
    """Raises ValueError for an entry that is not `host`, `host:port` or a network."""
    UrlPolicy(trusted)


class UrlPolicy:
    """Decides which URLs a webhook may be posted to.

    `trusted`: the operator's list of hosts that may be private. An entry is `host`, `host:port` or
    a network such as `10.1.0.0/16`; any other entry raises ValueError.
    `resolve`: returns the addresses of a host name; the default uses the system's resolver.
    """

    def __init__(self, trusted: Sequence[str], resolve: Resolve | None = None) -> None:
        self._networks = tuple(_network(entry) for entry in trusted if "/" in entry)
        self._hosts = frozenset(_host_and_port(entry) for entry in trusted if "/" not in entry)
        self._resolve = resolve or resolved
        self._resolve_briefly = resolve or BriefResolver(POST_LOOKUPS, POST_SECONDS)

    def check(self, url: str) -> WebhookUrl:
        """Check everything but the addresses of a host name. Raises UrlNotAllowed."""
        parts = WebhookUrl.parse(url)
        if self._trusts(parts):
            return parts
        if parts.scheme != "https":
            raise _not_allowed(f"the scheme must be https, got {parts.scheme}")
        if parts.port not in PORTS:
            raise _not_allowed(f"the port must be {' or '.join(map(str, PORTS))}, got {parts.port}")
        address = _address(parts.host)
        if address is not None and not is_public(address):
            raise _not_allowed("the host's address is not public")
        if address is None and "." not in parts.host:
            raise _not_allowed("the host must be a full domain name such as hooks.example.org")
        return parts

    def addresses(self, url: WebhookUrl) -> Sequence[str]:
        """Return the addresses that a connection may now go to.

        Raises UrlNotAllowed if an address is not allowed, and OSError for an unknown name.
        """
        return self._addresses(url, self._resolve)

    def check_addresses(self, url: WebhookUrl) -> None:
        """Check the addresses that a host name has now, if the name can be resolved at once.

        Raises UrlNotAllowed. `addresses` checks them again at each delivery.
        """
        if not self._trusts(url):
            with suppress(OSError):
                self._addresses(url, self._resolve_briefly)

    def _addresses(self, url: WebhookUrl, resolve: Resolve) -> Sequence[str]:
        literal = _address(url.host)
        addresses = [url.host] if literal is not None else resolve(url.host, url.port)
        if not addresses:
            raise OSError("the name has no address")
        if not self._trusts(url) and not all(map(self._may_reach, addresses)):
            raise _not_allowed("the host has an address that is not public")
        return addresses

    def _trusts(self, url: WebhookUrl) -> bool:
        """Whether the operator's list has the host, alone or with the port, or its address."""
        names = {(url.host, None), (url.host, url.port)}
        address = _address(url.host)
        return bool(names & self._hosts) or (address is not None and self._in_network(address))

    def _may_reach(self, text: str) -> bool:
        address = _address(text)
        return address is not None and (is_public(address) or self._in_network(address))

    def _in_network(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet and to no special-purpose range."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _SPECIAL)
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    # Addresses outside 2000::/3 are local ones, or contain an IPv4 address.
    return address in _GLOBAL and address.is_global and not any(address in network for network in _SPECIAL_6)


class BriefResolver:
    """Resolves names with few threads and little time.

    `lookups`: number of lookups at the same time. `seconds`: time for one of them.
    """

    def __init__(self, lookups: int, seconds: float) -> None:
        self._free = threading.BoundedSemaphore(lookups)
        self._seconds = seconds

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises OSError as `resolved`, or if no lookup is free."""
        if not self._free.acquire(blocking=False):
            raise OSError("too many names are resolved at the same time")
        return resolved(host, port, self._seconds, self._free.release)


def resolved(host: str, port: int, seconds: float | None = None, done: Callable[[], None] = lambda: None) -> Sequence[str]:
    """Return the addresses of a name from the system's resolver.

    `seconds`: time for the lookup; None means `RESOLVE_SECONDS`.
    `done`: called when the lookup has ended, perhaps much later.
    Raises OSError if the name has none, or the resolver takes longer than `seconds`.
    """
    results: list[Sequence[str] | OSError] = []

    def lookup() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            results.append(list(dict.fromkeys(str(answer[4][0]) for answer in answers)))
        except (OSError, UnicodeError) as error:
            results.append(OSError(f"the name cannot be resolved: {error}"))
        finally:
            done()

    seconds = RESOLVE_SECONDS if seconds is None else seconds
    # The system's resolver has no timeout, so it runs in a thread that is abandoned.
    thread = threading.Thread(target=lookup, name="resolve", daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeoutError(f"the name was not resolved within {seconds:g} s")
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
        raise _malformed("the host is neither a domain name nor an IP address")
    if _NUMBER.fullmatch(host):
        raise _malformed("write an address as four decimal numbers, or as IPv6 in brackets")


def _network(entry: str) -> Network:
    try:
        return ipaddress.ip_network(entry)
    except ValueError as error:
        raise _invalid_entry(entry) from error


def _host_and_port(entry: str) -> tuple[str, int | None]:
    if _address(entry.strip("[]")) is not None:
        return entry.strip("[]").lower(), None
    host, separator, port = entry.rpartition(":")
    host = (host if separator else entry).strip("[]").lower().removesuffix(".")
    if (_address(host) is None and not _NAME.fullmatch(host)) or (separator and not port.isdecimal()):
        raise _invalid_entry(entry)
    return host, int(port) if separator else None


def _invalid_entry(entry: str) -> ValueError:
    return ValueError(f"{entry!r} in UNITRANK_WEBHOOK_HOSTS is invalid: use a host, host:port or a network such as 10.1.0.0/16")


def _malformed(reason: str) -> UrlNotAllowed:
    return UrlNotAllowed("webhook_malformed", f"the webhook URL is invalid: {reason}")


def _not_allowed(reason: str) -> UrlNotAllowed:
    detail = f"the webhook URL is not allowed: {reason}; the operator allows other hosts with UNITRANK_WEBHOOK_HOSTS"
    return UrlNotAllowed("webhook_not_allowed", detail)
