"""Messages between a worker and its child."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.clock import Clock
from unitrank_worker.process.channel import HELD_BYTES, READ_BYTES, Channel, Closed, Message


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours, payload_bytes=1000, send_seconds=0.2)
    with theirs:
        yield channel, theirs
    channel.close()


def test_messages_when_they_come_in_pieces_or_together_then_each_is_whole(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.sendall(b'{"a": 1}\n{"b"')
    assert channel.receive(1.0) == Message({"a": 1})
    assert channel.receive(0.01) is None
    theirs.sendall(b': 2, "bytes": 3}\nx\n')
    assert channel.receive(0.01) is None
    theirs.sendall(b"y{}\n")

    assert channel.receive(1.0) == Message({"b": 2}, b"x\ny")
    assert channel.receive(1.0) == Message({})


def test_message_when_held_then_comes_with_the_next_one(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    channel.hold({"a": 1}, b"xy")
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    channel.send({"b": 2})

    assert theirs.recv(1000) == b'{"a": 1, "bytes": 2}\nxy{"b": 2}\n'


def test_message_when_too_large_to_be_held_then_is_sent_after_the_held_ones(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    channel.hold({"a": 1})
    channel.hold({"b": 2}, bytes(HELD_BYTES))
    received = b""
    while not received.endswith(bytes(HELD_BYTES)):
        received += theirs.recv(READ_BYTES)

    assert received == b'{"a": 1}\n{"b": 2, "bytes": 65536}\n' + bytes(HELD_BYTES)


def test_channel_when_the_other_side_has_ended_then_raises(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.close()

    with pytest.raises(Closed):
        channel.receive(1.0)
    with pytest.raises(Closed):
        channel.send({"a": 1})


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[1]\n",
        b'{"bytes": 1001}\n',
        b'{"bytes": -1}\n',
        b'{"bytes": "many"}\n',
        b'{"files": "x"}\n',
        b"\xff\n",
        b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n",
    ],
)
def test_channel_when_it_gets_a_malformed_message_then_raises(ends: tuple[Channel, socket.socket], line: bytes) -> None:
    channel, theirs = ends
    theirs.sendall(line)

    with pytest.raises(Closed):
        channel.receive(1.0)


def test_channel_when_the_other_side_does_not_read_then_does_not_wait_for_ever(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends

    with pytest.raises(Closed):
        channel.send({}, bytes(1 << 24))


def test_message_when_it_trickles_in_then_receive_keeps_its_time_limit() -> None:
    ours, theirs = socket.socketpair()
    clock = Clock()

    def trickling() -> float:
        theirs.sendall(b" ")
        clock.advance(1.0)
        return clock()

    channel = Channel(ours, payload_bytes=1000, clock=trickling)
    with theirs:
        message = channel.receive(10.0)
    channel.close()

    assert message is None
    assert 10 <= clock() <= 13


class Hasty:
    """A socket whose other end reads, answers and closes before `sendmsg` returns."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()

    def sendmsg(self, *arguments: Any) -> int:
        sent = self._ours.sendmsg(*arguments)
        self._theirs.recv(1 << 16)
        self._theirs.sendall(b'{"end": "failed"}\n')
        self._theirs.close()
        return sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ours, name)


def test_order_when_the_child_answers_and_leaves_at_once_then_its_answer_is_read(tmp_path: Path) -> None:
    channel = Channel(cast(socket.socket, Hasty()), payload_bytes=0)
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        channel.send({"run": "job"}, files=[file.fileno()])

    assert channel.receive(1.0) == Message({"end": "failed"})
    channel.close()


def test_files_when_this_end_accepts_none_then_all_are_closed(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    parent, child = Channel(ours, payload_bytes=0), Channel(theirs, payload_bytes=0)
    (tmp_path / "file").touch()
    before = len(os.listdir("/dev/fd"))
    with (tmp_path / "file").open("rb") as file:
        for _ in range(3):
            child.send({"files": 1}, files=[file.fileno()])
    messages = [parent.receive(1.0) for _ in range(3)]

    assert [message.files for message in messages if message] == [(), (), ()]
    assert len(os.listdir("/dev/fd")) == before
    parent.close()
    child.close()


def test_files_when_sent_then_are_read_at_the_other_end_and_closed(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    parent, child = Channel(ours, payload_bytes=0), Channel(theirs, payload_bytes=0, most_files=2)
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(name)
    with (tmp_path / "one").open("rb") as one, (tmp_path / "two").open("rb") as two, (tmp_path / "three").open("rb") as three:
        parent.send({"run": 1}, files=[one.fileno(), two.fileno()])
        parent.send({"run": 2}, files=[three.fileno()])
    first, second = child.receive(1.0), child.receive(1.0)
    assert first is not None
    assert second is not None

    assert [path.read_text() for path in first.paths()] == ["one", "two"]
    assert [path.read_text() for path in second.paths()] == ["three"]
    first.close()
    second.close()
    assert not any(path.exists() for path in first.paths())
    parent.close()
    child.close()


def test_payload_when_large_then_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    parent, child = Channel(ours, payload_bytes=1 << 26), Channel(theirs, payload_bytes=0)
    payload = os.urandom(1 << 25)
    sender = threading.Thread(target=child.send, args=({"result": {}}, payload))
    sender.start()
    message = parent.receive(10.0)
    sender.join()

    assert message == Message({"result": {}}, payload)
    parent.close()
    child.close()
