"""The child as its parent holds it."""

import socket

import pytest

from unitrank_worker.process.channel import Channel, Closed
from unitrank_worker.process.handle import ChildHandle, device_inside, environment


def test_child_when_it_has_a_gpu_then_sees_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment("cuda:3")["CUDA_VISIBLE_DEVICES"] == "3"
    assert environment("cuda")["CUDA_VISIBLE_DEVICES"] == "0"
    assert "CUDA_VISIBLE_DEVICES" not in environment("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")

    assert environment("cuda:1")["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert (device_inside("cuda:1"), device_inside("cpu")) == ("cuda:0", "cpu")


def test_child_when_there_is_none_then_nothing_is_wrong() -> None:
    child = ChildHandle({}, "nothing:Nothing", "cpu")

    assert (child.pid, child.memory(), child.end()) == (0, 0, 0)
    with pytest.raises(Closed):
        child.send({})


def test_channel_when_messages_come_in_pieces_or_together_then_each_is_whole() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with theirs:
        theirs.sendall(b'{"a": 1}\n{"b"')
        assert channel.receive(1.0) == {"a": 1}
        assert channel.receive(0.01) is None
        theirs.sendall(b": 2}\n")
        assert channel.receive(1.0) == {"b": 2}
    with pytest.raises(Closed):
        channel.receive(1.0)
    channel.close()
