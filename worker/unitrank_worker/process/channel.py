"""Messages between a worker and its child: one JSON object a line, over a pair of sockets."""

import json
import select
import socket

from unitrank_schemas.base import Json


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """One end. Not to be used by two threads."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = b""

    def send(self, message: Json) -> None:
        """Raises Closed."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise Closed("the other side is gone") from error

    def receive(self, seconds: float | None = None) -> Json | None:
        """The next message; None where none came within so many seconds. Raises Closed."""
        while b"\n" not in self._buffer:
            if seconds is not None and not select.select([self._socket], [], [], seconds)[0]:
                return None
            self._buffer += self._read()
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Json = json.loads(line)
        return message

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(1 << 16)
        except OSError as error:
            raise Closed("the other side is gone") from error
        if not data:
            raise Closed("the other side is gone")
        return data
