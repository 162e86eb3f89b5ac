"""Messages between a worker and its child over a pair of Unix sockets.

A message is a JSON object on one line. If the object has the field `bytes`, that many raw bytes
follow. The parent can also send open files with a message (SCM_RIGHTS).
"""

import array
import json
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unitrank_schemas.base import Json

READ_BYTES = 1 << 20
MOST_FILES = 80
"""A job has at most 64 datasets of scores beside its dataset and its model."""
HELD_BYTES = 64 << 10
"""Most bytes that wait for the next message."""
LINE_BYTES = 64 << 20
"""Longest line of a message."""


class Closed(Exception):
    """Raised if the other side has ended, or sent a malformed message."""


@dataclass(frozen=True)
class Message:
    """A message. `content`: the JSON object. `payload`: the bytes after the line.

    `files`: file descriptors, which the receiver must close.
    """

    content: Json
    payload: bytes = b""
    files: Sequence[int] = field(default_factory=tuple)

    def paths(self) -> list[Path]:
        """The received files as paths that can be opened while the descriptors are open."""
        return [Path(f"/dev/fd/{descriptor}") for descriptor in self.files]

    def close(self) -> None:
        """Close the received files."""
        for descriptor in self.files:
            os.close(descriptor)


class Channel:
    """One end of the pair of sockets. Only one thread may use it.

    `payload_bytes`: the largest payload that is accepted.
    `send_seconds`: seconds after which a receiver that does not read counts as ended.
    `most_files`: largest number of files in one read; the kernel closes further files.
    `clock`: returns seconds; `receive` uses it for its deadline.
    """

    def __init__(
        self,
        end: socket.socket,
        *,
        payload_bytes: int,
        send_seconds: float | None = None,
        most_files: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = end
        self._clock = clock
        self.payload_bytes = payload_bytes
        self._ancillary_bytes = socket.CMSG_SPACE(most_files * array.array("i").itemsize) if most_files else 0
        self._buffer = bytearray()
        self._files: list[int] = []
        self._header: tuple[Json, int, int] | None = None
        self._held = bytearray()
        end.settimeout(send_seconds)

    def hold(self, content: Json, payload: bytes = b"") -> None:
        """Send a message together with the next one, so that the other side wakes only once.

        It is sent at once if more than `HELD_BYTES` would wait. Raises Closed.
        """
        if len(self._held) + len(payload) > HELD_BYTES:
            self.send(content, payload)
            return
        self._held += _line(content, payload, 0) + payload

    def send(self, content: Json, payload: bytes = b"", files: Sequence[int] = ()) -> None:
        """Send a message with open files. The caller closes the files. Raises Closed."""
        line, self._held = bytes(self._held) + _line(content, payload, len(files)), bytearray()
        try:
            if files:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
                sent = self._socket.sendmsg([line], [rights])
                line = line[sent:]
            # Send no empty text. If the receiver has answered and ended, the send would fail, and
            # its answer would be lost.
            if line:
                self._socket.sendall(line)
            if payload:
                self._socket.sendall(payload)
        except OSError as error:
            raise Closed("the other side has ended") from error

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message; None if no message is complete within `seconds`. Raises Closed."""
        deadline = None if seconds is None else self._clock() + seconds
        while (message := self._complete()) is None:
            left = None if deadline is None else max(0.0, deadline - self._clock())
            if not select.select([self._socket], [], [], left)[0]:
                return None
            self._read()
            if deadline is not None and self._clock() >= deadline:
                return self._complete()
        return message

    def fileno(self) -> int:
        """The descriptor of the socket, for `select`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket, and received files whose message was not read."""
        self._socket.close()
        while self._files:
            os.close(self._files.pop())

    def _complete(self) -> Message | None:
        if self._header is None:
            end = self._buffer.find(b"\n", 0, LINE_BYTES)
            if end < 0:
                if len(self._buffer) >= LINE_BYTES:
                    raise Closed(f"the other side sent a line of more than {LINE_BYTES} bytes")
                return None
            self._header = self._parsed(bytes(self._buffer[:end]))
            del self._buffer[: end + 1]
        content, size, count = self._header
        if len(self._buffer) < size:
            return None
        payload = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._header = None
        files, self._files = tuple(self._files[:count]), self._files[count:]
        return Message(content, payload, files)

    def _parsed(self, line: bytes) -> tuple[Json, int, int]:
        """The object on a line, the number of bytes after it, and the number of files."""
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Closed("the other side sent a line that is not JSON, or is nested too deeply") from error
        if not isinstance(content, dict):
            raise Closed("the other side sent JSON that is not an object")
        size, count = content.pop("bytes", 0), content.pop("files", 0)
        if not isinstance(size, int) or not 0 <= size <= self.payload_bytes or not isinstance(count, int):
            raise Closed(f"the other side announced {size!r} bytes; at most {self.payload_bytes} are accepted")
        return content, size, count

    def _read(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(READ_BYTES, self._ancillary_bytes)
        except OSError as error:
            raise Closed("the other side has ended") from error
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
                self._files += descriptors
        if not data:
            raise Closed("the other side has ended")
        self._buffer += data


def _line(content: Json, payload: bytes, files: int) -> bytes:
    """The line of a message. `files`: number of files that are sent with it."""
    counts = {name: count for name, count in (("bytes", len(payload)), ("files", files)) if count}
    return json.dumps(content | counts).encode() + b"\n"
