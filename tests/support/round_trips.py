"""Records what a process sends to the store: each packet of commands is one round trip."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.connection import AbstractConnection

REUSED = (b"INFO", b"HVALS")
"""Commands whose answers are used again for some time: the store's memory, the speed of devices."""


@contextmanager
def recorded_round_trips(thread: str = "") -> Iterator[list[bytes]]:
    """Yield a list that gets the bytes of each packet that is sent to the store.

    `thread`: records only threads whose name begins so.
    The commands of `REUSED` are left out: not each request sends them.
    """
    packets: list[bytes] = []
    send = AbstractConnection.send_packed_command

    def record(connection: AbstractConnection, command: Any, check_health: bool = True) -> None:
        packet = command if isinstance(command, bytes) else b"".join(map(bytes, command))
        if threading.current_thread().name.startswith(thread) and packet.split(b"\r\n")[2] not in REUSED:
            packets.append(packet)
        send(connection, command, check_health)  # type: ignore[no-untyped-call]  # redis-py's

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", record)
        yield packets
