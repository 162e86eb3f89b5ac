"""The child's reads of shards, answered by its parent over their channel."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.tables.sharded.conftest import cut
from unitrank_engine.errors import Cancelled, EngineError
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.pinned_files import pinned
from unitrank_store.blobs.sources import Sources
from unitrank_tables.sharded.headers import ShardFile, index_of, read_shard_header
from unitrank_tables.sharded.index import ShardIndex
from unitrank_tables.sharded.ranges import MOST_AT_ONCE, ByteRange
from unitrank_tables.sharded.table import ShardedTable
from unitrank_worker.attempts.shard_reads import ShardReads
from unitrank_worker.process.channel import Channel, Closed, Message
from unitrank_worker.process.parent import ParentShards

ROWS = np.random.default_rng(0).normal(size=(1000, 16))


def stored(folder: Path) -> tuple[BlobStore, ShardIndex, str]:
    """Shards in a folder, the blob store with their index, and the index's digest."""
    place = f"file://{folder}"
    blobs = BlobStore(str(folder / "blobs"), sources=[place])
    headers = []
    for number, part in enumerate(cut({"x": ROWS}, (0, 300, 1000))):
        np.savez(folder / f"part-{number}.npz", **part)
        file = pinned(Sources([place]).file(f"{place}/part-{number}.npz"))
        state = file.state()
        read = lambda start, stop, file=file, state=state: file.read(start, stop, state)  # noqa: E731
        headers.append(read_shard_header(ShardFile(f"{place}/part-{number}.npz", state.size, state.pin, read)))
    index = index_of(headers)
    assert index is not None
    with blobs.writer() as writer:
        writer.write(index.to_bytes())
    return blobs, index, writer.digest


@contextmanager
def parent(reads: ShardReads) -> Iterator[Channel]:
    """The child's channel to a parent that answers its reads."""
    end, other = socket.socketpair()
    answering, asking = Channel(other, payload_bytes=1 << 30), Channel(end, payload_bytes=1 << 30)

    def answer() -> None:
        try:
            while message := answering.receive():
                reply = reads.prepare(message)()
                answering.send(reply.content, reply.payload)
        except Closed:
            return

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield asking
    finally:
        asking.close()
        thread.join(10)
        answering.close()


def test_rows_when_the_parent_reads_them_then_are_those_of_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitrank_worker.process.parent.MOST_AT_ONCE", 5000)
    blobs, index, digest = stored(tmp_path)
    with parent(ShardReads(blobs, [digest])) as channel, ShardedTable(index, ParentShards(channel, 0)) as table:
        picked = np.random.default_rng(1).permutation(1000)

        assert np.array_equal(table.read("x", slice(None)), ROWS)
        assert np.array_equal(table.read("x", picked), ROWS[picked])


def test_shard_when_it_has_changed_then_the_child_gets_the_problem(tmp_path: Path) -> None:
    blobs, index, digest = stored(tmp_path)
    (tmp_path / "part-1.npz").write_bytes((tmp_path / "part-0.npz").read_bytes())
    with parent(ShardReads(blobs, [digest])) as channel, ShardedTable(index, ParentShards(channel, 0)) as table:
        assert np.array_equal(table.read("x", slice(0, 300)), ROWS[:300])
        with pytest.raises(EngineError) as caught:
            table.read("x", slice(290, 310))
        (tmp_path / "part-0.npz").unlink()
        with pytest.raises(EngineError) as missing:
            table.read("x", [0])

    assert caught.value.code == missing.value.code == "dataset_changed"
    assert "part-1.npz" in caught.value.detail
    assert "part-0.npz" in missing.value.detail


def test_worker_when_its_sources_lack_the_place_then_is_named(tmp_path: Path) -> None:
    _, index, digest = stored(tmp_path)
    elsewhere = BlobStore(str(tmp_path / "blobs"), sources=["s3://other/"])
    with parent(ShardReads(elsewhere, [digest])) as channel, pytest.raises(EngineError) as caught:
        ShardedTable(index, ParentShards(channel, 0)).read("x", [0])

    assert (caught.value.code, caught.value.retryable) == ("dataset_unreadable", True)
    assert socket.gethostname() in caught.value.detail
    assert "UNITRANK_SOURCES" in caught.value.detail


def test_child_when_it_is_stopped_while_it_waits_for_rows_then_is_cancelled() -> None:
    end, other = socket.socketpair()
    child, stopping = Channel(end, payload_bytes=100), Channel(other, payload_bytes=100)
    stopping.send({"stop": True})

    with pytest.raises(Cancelled):
        ParentShards(child, 0).read([ByteRange(0, 0, 10)])
    child.close()
    stopping.close()


@pytest.mark.parametrize(
    "content",
    [
        {"read_shards": 1, "ranges": [[0, 0, 1]]},
        {"read_shards": "0", "ranges": [[0, 0, 1]]},
        {"read_shards": 0},
        {"read_shards": 0, "ranges": 7},
        {"read_shards": 0, "ranges": [[0, 0]]},
        {"read_shards": 0, "ranges": [["a", 0, 1]]},
        {"read_shards": 0, "ranges": [[0, 0, MOST_AT_ONCE + 1]]},
        {"read_shards": 0, "ranges": [[5, 0, 1]]},
        {"read_shards": 0, "ranges": [[-1, 0, 1]]},
        {"read_shards": 0, "ranges": [[0, 9, 1]]},
        {"read_shards": 0, "ranges": [[0, 0, 10**6]]},
    ],
    ids=str,
)
def test_question_when_malformed_then_is_rejected(tmp_path: Path, content: dict[str, object]) -> None:
    blobs, _, digest = stored(tmp_path)

    with pytest.raises((ValueError, TypeError, LookupError)):
        ShardReads(blobs, [digest]).prepare(Message(content))()
