"""Hosts and ports of this machine."""

import errno
import socket

from unitrank.errors import NotPossible


def claim_port(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises NotPossible if this process cannot listen on it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            # The service sets the same option: a port that was closed a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise NotPossible(_reason(host, port, error)) from error


def url_of(host: str, port: int) -> str:
    """The URL by which this machine reaches a service that listens on `host` and `port`."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _reason(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port, or any free port with --port 0"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}; choose a port above 1023 with --port"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}; choose others with --host and --port"
