"""Blobs: one contract over a local folder and a remote filesystem."""

import hashlib
import io
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest

from unitrank_store.blobs import folder_backend, verification
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.digests import digest_of, hex_of
from unitrank_store.blobs.folder_backend import FolderBackend
from unitrank_store.errors import Corrupt, RecordNotFound, SizeExceeded
from unitrank_store.settings import Settings
from unitrank_tables.chunk_digests import ChunkDigests
from unitrank_tables.errors import BadTable
from unitrank_tables.sizes import MiB

DATA = b"unit" * 100_000


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty blob store, for each backend."""
    if request.param == "folder":
        return (tmp_path / "blobs").as_uri()
    return f"memory://blobs-{uuid.uuid4().hex}"


@pytest.fixture
def blobs(url: str, tmp_path: Path) -> BlobStore:
    return BlobStore(url, tmp_path / "cache")


def put(blobs: BlobStore, data: bytes) -> str:
    with blobs.writer() as sink:
        sink.write(data)
    return sink.digest


def everything(url: str, tmp_path: Path) -> list[str]:
    """Return all stored blobs and all drafts, without the digests of their chunks."""
    filesystem, root = fsspec.core.url_to_fs(url)
    stored = filesystem.find(root) if filesystem.exists(root) else []
    blobs = [path for path in stored if not path.endswith(".chunks")]
    return [*blobs, *(str(path) for path in tmp_path.rglob("*incoming-*"))]


def test_writer_when_the_block_ends_stores_under_the_sha256(blobs: BlobStore) -> None:
    with blobs.writer() as sink:
        for start in range(0, len(DATA), 1000):
            sink.write(DATA[start : start + 1000])

    assert sink.digest == f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    assert sink.size == blobs.size(sink.digest) == len(DATA)
    assert blobs.exists(sink.digest)
    assert blobs.path(sink.digest).read_bytes() == DATA
    with blobs.open(sink.digest) as opened:
        assert opened.read() == DATA


def test_writer_when_the_block_raises_leaves_nothing(blobs: BlobStore, url: str, tmp_path: Path) -> None:
    def interrupted() -> None:
        with blobs.writer() as sink:
            sink.write(DATA)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert everything(url, tmp_path) == []
    assert not blobs.exists(digest_of(DATA))


def test_writer_past_its_limit_refuses_and_leaves_nothing(blobs: BlobStore, url: str, tmp_path: Path) -> None:
    def too_much() -> None:
        with blobs.writer(limit=10) as sink:
            sink.write(b"0123456789")
            sink.write(b"0")

    with pytest.raises(SizeExceeded, match="10 bytes"):
        too_much()

    assert everything(url, tmp_path) == []


def test_writer_inside_the_block_shows_what_was_written(blobs: BlobStore) -> None:
    with blobs.writer() as sink:
        sink.write(DATA)

        assert sink.path.read_bytes() == DATA
        assert not blobs.exists(sink.digest)


def test_writer_when_the_place_fails_leaves_nothing(
    blobs: BlobStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(blobs._backend, "put", fail)
    with pytest.raises(OSError, match="full"):
        put(blobs, DATA)

    assert everything(url, tmp_path) == []


def test_same_bytes_when_written_again_are_stored_once(blobs: BlobStore, url: str, tmp_path: Path) -> None:
    first = put(blobs, DATA)
    second = put(blobs, DATA)

    assert first == second
    assert len(everything(url, tmp_path)) == 1


def test_empty_content_is_a_content(blobs: BlobStore) -> None:
    digest = put(blobs, b"")

    assert blobs.size(digest) == 0
    assert blobs.path(digest).read_bytes() == b""


def test_writers_of_the_same_bytes_at_the_same_time_both_succeed(blobs: BlobStore) -> None:
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(put(blobs, DATA))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert digests == [digest_of(DATA)] * 8
    assert blobs.path(digest_of(DATA)).read_bytes() == DATA


def test_delete_forgets_the_content_and_may_be_repeated(blobs: BlobStore) -> None:
    digest = put(blobs, DATA)
    blobs.path(digest)
    blobs.delete(digest)
    blobs.delete(digest)

    assert not blobs.exists(digest)
    for read in (blobs.path, blobs.open, blobs.size):
        with pytest.raises(RecordNotFound, match=digest):
            read(digest)


@pytest.mark.parametrize("name", ["sha256:../../etc/passwd", "sha256:" + "A" * 64, "a" * 64, "", "sha256:" + "a" * 64 + "\n"])
def test_blob_when_its_digest_is_malformed_then_raises(blobs: BlobStore, name: str) -> None:
    for read in (blobs.path, blobs.open, blobs.size, blobs.exists, blobs.delete):
        with pytest.raises(ValueError, match="is malformed"):
            read(name)


def test_blobs_that_another_object_wrote_are_found(blobs: BlobStore, url: str) -> None:
    digest = put(blobs, DATA)

    second_store = BlobStore(url)

    assert second_store.path(digest).read_bytes() == DATA


def test_a_damaged_remote_content_is_corrupt_and_not_kept(tmp_path: Path) -> None:
    url = f"memory://blobs-{uuid.uuid4().hex}"
    blobs = BlobStore(url, tmp_path)
    digest = put(blobs, DATA)
    filesystem, root = fsspec.core.url_to_fs(url)
    (key,) = filesystem.find(root)
    filesystem.pipe_file(key, b"something else")

    for _ in range(2):
        with pytest.raises(Corrupt, match=digest):
            blobs.path(digest)


def test_an_upload_that_fails_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://blobs-{uuid.uuid4().hex}"
    blobs = BlobStore(url, tmp_path)

    def fail(*_: object) -> None:
        raise OSError("the line is cut")

    monkeypatch.setattr(fsspec.filesystem("memory"), "mv", fail)
    with pytest.raises(OSError, match="cut"):
        put(blobs, DATA)

    assert everything(url, tmp_path) == []


def test_blobs_of_settings_lie_under_the_state_folder(tmp_path: Path) -> None:
    blobs = BlobStore.of(Settings(state=tmp_path))

    assert tmp_path in blobs.path(put(blobs, DATA)).parents


def test_sweep_removes_what_a_killed_writer_left_and_nothing_newer(blobs: BlobStore, url: str, tmp_path: Path) -> None:
    digest = put(blobs, DATA)
    with blobs.writer() as sink:
        abandoned = sink.path.with_name("incoming-left")
        abandoned.write_bytes(b"half")
        os.utime(abandoned, (1, 1))

        assert blobs.sweep() == 1
        assert sink.path.exists()
    assert not abandoned.exists()
    assert blobs.exists(digest)
    assert blobs.sweep() == 0


def test_draft_when_the_block_ends_or_raises_leaves_nothing(blobs: BlobStore, url: str, tmp_path: Path) -> None:
    with blobs.draft() as path:
        path.write_bytes(DATA)
    with pytest.raises(KeyError), blobs.draft() as path:
        raise KeyError

    assert everything(url, tmp_path) == []


def test_aged_when_a_content_is_older_then_is_named(blobs: BlobStore) -> None:
    digest = put(blobs, DATA)

    assert list(blobs.aged(-60)) == [digest]
    assert list(blobs.aged(60)) == []


def test_file_whose_bytes_have_the_digest_is_opened(blobs: BlobStore) -> None:
    digest = put(blobs, DATA)

    for _ in range(2):
        with blobs.open_verified(digest) as file:
            assert file.read() == DATA
    with pytest.raises(RecordNotFound):
        blobs.open_verified(digest_of(b"other"))


def test_file_that_was_verified_is_hashed_again_only_after_a_change(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = put(blobs, DATA)
    hashed = []
    monkeypatch.setattr(verification, "_digest", lambda descriptor: hashed.append(descriptor) or digest)

    for _ in range(3):
        blobs.open_verified(digest).close()
    assert len(hashed) == 1
    os.utime(blobs.path(digest), (1, 1))
    for _ in range(2):
        blobs.open_verified(digest).close()
    assert len(hashed) == 2


@pytest.mark.parametrize("damage", ["zeros", "cut short"])
def test_file_that_is_damaged_is_corrupt_until_the_same_bytes_are_put(tmp_path: Path, damage: str) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    digest = put(blobs, DATA)
    blobs.open_verified(digest).close()
    damage_file(blobs.path(digest), damage)

    for _ in range(2):
        with pytest.raises(Corrupt, match=digest):
            blobs.open_verified(digest)
    put(blobs, DATA)
    with blobs.open_verified(digest) as file:
        assert file.read() == DATA


@pytest.mark.parametrize("damage", ["zeros", "cut short"])
def test_local_copy_that_is_damaged_is_copied_again(tmp_path: Path, damage: str) -> None:
    blobs = BlobStore(f"memory://blobs-{uuid.uuid4().hex}", tmp_path / "cache")
    digest = put(blobs, DATA)
    damage_file(blobs.path(digest), damage)

    with blobs.open_verified(digest) as file:
        assert file.read() == DATA


def test_file_that_was_verified_is_hashed_again_when_its_time_was_set_back(tmp_path: Path) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    digest = put(blobs, DATA)
    blobs.open_verified(digest).close()
    path = blobs.path(digest)
    before = path.stat()
    damage_file(path, "zeros")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(Corrupt, match=digest):
        blobs.open_verified(digest)


def test_local_copy_that_was_verified_is_not_hashed_again_when_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = BlobStore(f"memory://blobs-{uuid.uuid4().hex}", tmp_path / "cache")
    digest = put(blobs, DATA)
    blobs.open_verified(digest).close()
    monkeypatch.setattr(verification, "_digest", lambda _: pytest.fail("the file was hashed again"))

    blobs.open_verified(digest).close()


def put_in_place(path: Path, kind: str) -> None:
    """Replace the file by something that is not a regular file."""
    path.unlink()
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
        (path / "somebody's").touch()


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder"])
def test_blob_that_is_not_a_file_is_corrupt_until_the_same_bytes_are_put(tmp_path: Path, kind: str) -> None:
    """Opening a FIFO waited for a writer, for ever."""
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    digest = put(blobs, DATA)
    path = blobs.path(digest)
    put_in_place(path, kind)

    readers: list[Callable[[str], object]] = [blobs.open, blobs.open_verified, blobs.open_chunked]
    for read in readers:
        with pytest.raises(Corrupt, match="not a regular file"):
            read(digest)
    with pytest.raises(BadTable) as raised:
        blobs.open_table(digest)
    assert raised.value.code == "dataset_corrupt"
    put(blobs, DATA)
    with blobs.open_verified(digest) as file:
        assert file.read() == DATA


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder"])
def test_blob_that_is_not_a_file_can_be_deleted(tmp_path: Path, kind: str) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    digest = put(blobs, DATA)
    path = blobs.path(digest)
    put_in_place(path, kind)
    blobs.delete(digest)

    assert not os.path.lexists(path)
    # A folder that somebody made is renamed, and its files stay.
    assert [file.name for file in (tmp_path / "blobs").rglob("somebody's")] == ["somebody's"] * (kind == "folder")


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder"])
def test_chunk_digests_that_are_not_a_file_are_computed_again(blobs: BlobStore, kind: str) -> None:
    digest = put(blobs, TABLE)
    digests = blobs.chunk_digests(digest)
    put_in_place(chunk_file(blobs, digest), kind)

    assert blobs.chunk_digests(digest) == digests
    assert chunk_file(blobs, digest).is_file()


def damage_file(path: Path, damage: str) -> None:
    """Change bytes of the file in place, as a failing disk does."""
    if damage == "cut short":
        os.truncate(path, 1000)
        return
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(bytes(4000))


def test_cache_when_it_is_full_then_what_was_used_the_longest_ago_goes(tmp_path: Path) -> None:
    url = f"memory://blobs-{uuid.uuid4().hex}"
    blobs = BlobStore(url, tmp_path / "cache", cache_bytes=25)
    first, second, third = (put(blobs, bytes([number]) * 10) for number in range(3))
    for age, digest in enumerate([second, first]):
        os.utime(chunk_file(blobs, digest), (age, age))
    held = blobs.path(second).open("rb")
    os.utime(chunk_file(blobs, second), (0, 0))
    blobs.path(third)

    cached = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert cached == {f"{hex_of(digest)}{suffix}" for digest in (first, third) for suffix in ("", ".chunks")}
    assert held.read() == bytes([1]) * 10
    assert blobs.path(second).read_bytes() == bytes([1]) * 10
    held.close()


TABLE = bytes(range(256)) * (9 << 12)
"""9 MiB: more than two chunks of 4 MiB."""


def chunk_file(blobs: BlobStore, digest: str) -> Path:
    return blobs.path(digest).with_suffix(".chunks")


def test_content_when_it_is_put_then_its_chunks_have_digests_and_are_deleted_with_it(blobs: BlobStore) -> None:
    digest = put(blobs, TABLE)
    chunks = [TABLE[start : start + 4 * MiB] for start in range(0, len(TABLE), 4 * MiB)]
    digests = blobs.chunk_digests(digest)
    path = chunk_file(blobs, digest)

    assert digests.chunks == tuple(hashlib.sha256(chunk).hexdigest() for chunk in chunks)
    assert (digests.digest, digests.size) == (digest, len(TABLE))
    assert path.exists()
    blobs.delete(digest)
    assert not path.exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 200, None])
def test_chunk_digests_when_they_are_damaged_or_missing_then_are_computed_again(blobs: BlobStore, damage: bytes | None) -> None:
    """Blobs of earlier versions have none."""
    digest = put(blobs, TABLE)
    digests, path = blobs.chunk_digests(digest), chunk_file(blobs, digest)
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)

    assert blobs.chunk_digests(digest) == digests
    assert path.read_bytes() == digests.to_bytes()


def test_content_without_chunk_digests_when_it_is_damaged_then_is_corrupt_until_it_is_put_again(tmp_path: Path) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    digest = put(blobs, TABLE)
    chunk_file(blobs, digest).unlink()
    damage_file(blobs.path(digest), "zeros")

    with pytest.raises(Corrupt, match=digest):
        blobs.open_chunked(digest)
    assert not chunk_file(blobs, digest).exists()
    put(blobs, TABLE)
    _, file = blobs.open_chunked(digest)
    file.close()


def test_open_table_when_called_then_reads_the_chunk_digests_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    sink = io.BytesIO()
    np.savez(sink, x=np.zeros((4, 2)))
    digest = put(blobs, sink.getvalue())
    read: list[bytes] = []
    from_bytes = ChunkDigests.from_bytes
    monkeypatch.setattr(ChunkDigests, "from_bytes", lambda content: read.append(content) or from_bytes(content))

    with blobs.open_table(digest):
        assert len(read) == 1


def test_sweep_when_a_writer_was_killed_before_its_rename_then_deletes_the_old_chunk_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    stored = put(blobs, DATA)
    os.utime(chunk_file(blobs, stored), (1, 1))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder_backend, "_sync", killed)
        with pytest.raises(KeyboardInterrupt):
            put(blobs, b"other")
    blobs.path(digest_of(b"other")).unlink()
    left = FolderBackend(tmp_path / "blobs").path_of(hex_of(digest_of(b"other"))).with_suffix(".chunks")

    assert blobs.sweep() == 0
    assert left.exists()
    os.utime(left, (1, 1))
    assert blobs.sweep() == 1
    assert not left.exists()
    assert chunk_file(blobs, stored).exists()


def test_remote_copy_when_it_is_damaged_then_a_chunked_file_is_copied_again(tmp_path: Path) -> None:
    blobs = BlobStore(f"memory://blobs-{uuid.uuid4().hex}", tmp_path / "cache")
    digest = put(blobs, TABLE)
    damage_file(blobs.path(digest), "zeros")

    digests, file = blobs.open_chunked(digest)
    with file:
        assert file.read() == TABLE
    assert digests == blobs.chunk_digests(digest)


def test_chunk_digests_when_the_disk_cannot_be_written_then_are_computed_each_time(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(blobs, TABLE)
    digests = blobs.chunk_digests(digest)
    chunk_file(blobs, digest).unlink()

    def fail(**arguments: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr(folder_backend.tempfile, "mkstemp", fail)
    assert blobs.chunk_digests(digest) == digests
    assert not chunk_file(blobs, digest).exists()
