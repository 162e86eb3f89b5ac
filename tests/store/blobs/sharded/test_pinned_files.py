"""A file that is read in place gives the bytes of the file that was imported, or an error."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from tests.support.servers.remote_sources import Bucket, s3
from unitrank_store.blobs.pinned_files import FileState, PinnedFile, pinned
from unitrank_store.blobs.sources import Sources, WebFile
from unitrank_store.errors import BadSource, ShardChanged


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3() as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        yield bucket


Put = Callable[[bytes], str]
"""Writes the file anew and returns its URI."""


@pytest.fixture(params=["folder", "s3", "memory"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Put:
    """Writes the file in a place of each kind: by mtime, by ETag, by time of creation."""
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        return lambda content: bucket.put("open/a.npz", content)

    def in_memory(content: bytes) -> str:
        fsspec.filesystem("memory").pipe("/sets/a.npz", content)
        return "memory://sets/a.npz"

    def in_folder(content: bytes) -> str:
        (tmp_path / "new").write_bytes(content)
        os.replace(tmp_path / "new", tmp_path / "a.npz")
        return f"file://{tmp_path}/a.npz"

    return in_memory if request.param == "memory" else in_folder


def file_at(uri: str) -> PinnedFile:
    return pinned(Sources([uri.rpartition("/")[0]]).file(uri))


def test_file_when_it_is_unchanged_then_gives_its_ranges(put: Put) -> None:
    file = file_at(put(bytes(range(100))))
    state = file.state()

    assert state.size == 100
    assert file.read(10, 13, state) == bytes([10, 11, 12])
    assert file.read(97, 100, state) == bytes([97, 98, 99])
    assert file_at(put.__call__(bytes(range(100)))).state().size == 100


@pytest.mark.parametrize("content", [b"other" * 20, b"longer" * 100, b""], ids=["same size", "longer", "empty"])
@pytest.mark.parametrize("was_read", [True, False], ids=["while it is read", "before it is read"])
def test_file_when_it_is_replaced_then_says_so(put: Put, content: bytes, was_read: bool) -> None:
    uri = put(bytes(100))
    file = file_at(uri)
    state = file.state()
    if was_read:
        file.read(0, 10, state)
    put(content)

    with pytest.raises(ShardChanged) as caught:
        file.read(10, 20, state)
    assert caught.value.code == "dataset_changed"
    assert uri in caught.value.detail
    assert "import the dataset again" in caught.value.detail


def test_file_when_it_has_vanished_then_is_named(tmp_path: Path, bucket: Bucket) -> None:
    for uri in (f"file://{tmp_path}/gone.npz", "s3://sets/gone.npz"):
        with pytest.raises(BadSource) as caught:
            file_at(uri).read(0, 10, FileState(10, "etag 1"))
        assert caught.value.code == "uri_not_found"
        assert uri in caught.value.detail


def test_file_when_the_operator_does_not_allow_it_then_is_not_opened(tmp_path: Path) -> None:
    for uri in ("s3://other/a.npz", "file:///etc/passwd", f"file://{tmp_path}/../a.npz", f"file://{tmp_path}//a"):
        with pytest.raises(BadSource):
            Sources([f"file://{tmp_path}", "s3://sets/"]).file(uri)


def test_local_file_when_it_is_a_link_out_of_its_place_then_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_bytes(bytes(100))
    (tmp_path / "inside/a.npz").symlink_to(tmp_path / "secret")

    with pytest.raises(BadSource) as caught:
        file_at(f"file://{tmp_path}/inside/a.npz").state()
    assert caught.value.code == "uri_not_allowed"


def test_local_file_when_its_name_has_characters_of_globs_and_uris_then_is_read(tmp_path: Path) -> None:
    (tmp_path / "part [1] #2?.npz").write_bytes(b"rows")
    file = file_at(f"file://{tmp_path}/part [1] #2?.npz")

    assert file.read(0, 4, file.state()) == b"rows"


def test_web_address_when_pinned_then_is_rejected() -> None:
    with pytest.raises(BadSource):
        pinned(WebFile("https://data.example.org/a.npz"))
