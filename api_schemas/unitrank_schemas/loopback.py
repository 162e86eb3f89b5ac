"""Loopback addresses: only programs on the same machine reach them."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether the host is `localhost`, ::1 or an address in 127.0.0.0/8."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
