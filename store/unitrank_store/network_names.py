"""Names of the network in settings: hosts, origins, path prefixes and addresses of proxies."""

import ipaddress
import re
from urllib.parse import urlsplit

_SEGMENTS = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def host_name(name: str) -> str:
    """Return the host name or address as a request's `Host` header writes it. Raises ValueError."""
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        lower = name.lower().removesuffix(".")
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", lower):
            raise ValueError(
                f"{name!r} is not a host name; write a name without scheme and port, such as rank.example.org"
            ) from None
        return lower
    return f"[{address}]" if address.version == 6 else str(address)


def origin(text: str) -> str:
    """Return the origin as a browser writes it in the header `Origin`. Raises ValueError."""
    try:
        parts = urlsplit(text)
        host, port = host_name(parts.hostname or ""), parts.port
    except ValueError:
        raise _not_an_origin(text) from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise _not_an_origin(text)
    # Browsers omit the default port.
    ending = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    exact = f"{parts.scheme}://{host}{ending}"
    if text.lower() not in (exact, f"{exact}:{port}"):
        raise _not_an_origin(text)
    return exact


def path_prefix(text: str) -> str:
    """Return the path prefix. Raises ValueError."""
    if not _SEGMENTS.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise ValueError(
            f"{text[:100]!r} is not a path prefix; write a path that begins with / and does not end with /, such as /unitrank"
        )
    return text


def proxy_address(text: str) -> str:
    """Return the address or network of a proxy, or `*`. Raises ValueError."""
    if text == "*":
        return text
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address of a proxy; write an address such as 10.0.0.5, a network such as 10.0.0.0/8, "
            "or * to trust every client"
        ) from None
    return str(network if network.num_addresses > 1 else network.network_address)


def _not_an_origin(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is not an origin; write scheme and host, and a port if there is one, without a path: https://app.example.org"
    )
