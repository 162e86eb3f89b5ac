"""Hosts and ports of this machine."""

import errno
import socket

from unitrank.errors import NotPossible


def claim_port(host: str, port: int) -> int:
    """The port, or a free one for 0, having seen that it can be listened on. Raises NotPossible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the service does: a port that was given back a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise NotPossible(_reason(host, port, error)) from error


def url_of(host: str, port: int) -> str:
    """Where this machine reaches what listens there."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def _reason(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another one with --port, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"port {port} may not be listened on by this user; choose one above 1023 with --port"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}"
