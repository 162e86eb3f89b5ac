"""Owners of blobs: claims, the quota, and the deletion of blobs without an owner."""

import os
import time
from pathlib import Path

import pytest
import redis

from unitrank_store.blobs.blob_store import DAY, BlobStore
from unitrank_store.blobs.digests import digest_of
from unitrank_store.blobs.ownership import BlobOwners
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.errors import Full, StateConflict
from unitrank_store.redis import keyspace

LIMIT = 1000


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri(), quota=LIMIT)


def put(blobs: BlobStore, data: bytes) -> str:
    with blobs.writer() as sink:
        sink.write(data)
    return sink.digest


def put_dataset(connection: redis.Redis, blobs: BlobStore, data: bytes, name: str = "data") -> None:
    DatasetStore(connection, blobs).put(name, put(blobs, data), len(data), {}, 1, "npz")


def test_quota_when_it_is_passed_then_the_upload_is_refused_and_gone(connection: redis.Redis, blobs: BlobStore) -> None:
    put_dataset(connection, blobs, b"a" * 700)
    ModelStore(connection, blobs).begin("net", put(blobs, b"b" * 300), 300, "1")

    with pytest.raises(Full, match="1000 bytes"):
        put_dataset(connection, blobs, b"c", "more")
    with pytest.raises(Full):
        ModelStore(connection, blobs).begin("net", put(blobs, b"d"), 1, "1")

    assert not blobs.exists(digest_of(b"c"))
    assert not blobs.exists(digest_of(b"d"))
    assert BlobOwners(connection, blobs).stored() == LIMIT
    assert [record.name for record in DatasetStore(connection, blobs).list()[0]] == ["data"]


def test_quota_when_bytes_are_there_already_then_count_once(connection: redis.Redis, blobs: BlobStore) -> None:
    for name in ("one", "two", "one"):
        put_dataset(connection, blobs, b"a" * 700, name)

    assert DatasetStore(connection, blobs).room() == 300


def test_quota_when_it_is_passed_then_what_is_there_already_stays(connection: redis.Redis, blobs: BlobStore) -> None:
    put_dataset(connection, blobs, b"a" * 700)
    BlobOwners(connection, blobs).claim(put(blobs, b"c" * 600), owner="clean:x")

    put_dataset(connection, blobs, b"a" * 700, "again")
    assert blobs.exists(digest_of(b"a" * 700))


def test_quota_when_a_content_is_deleted_then_has_room_again(connection: redis.Redis, blobs: BlobStore) -> None:
    put_dataset(connection, blobs, b"a" * LIMIT)
    with pytest.raises(Full):
        DatasetStore(connection, blobs).room()
    DatasetStore(connection, blobs).delete("data")

    assert DatasetStore(connection, blobs).room() == LIMIT


def test_room_when_there_is_no_quota_then_is_not_bounded(connection: redis.Redis, tmp_path: Path) -> None:
    assert DatasetStore(connection, BlobStore(tmp_path.as_uri())).room() is None


def test_claim_when_the_blob_is_gone_then_is_a_conflict(connection: redis.Redis, blobs: BlobStore) -> None:
    with pytest.raises(StateConflict, match="upload it again"):
        BlobOwners(connection, blobs).claim(digest_of(b"never"), owner="dataset:x")
    assert not connection.exists(keyspace.owners(digest_of(b"never")))


def aged(blobs: BlobStore, digest: str) -> None:
    then = time.time() - DAY - 60
    os.utime(blobs.path(digest), (then, then))


def test_blob_when_it_has_no_owner_for_a_day_then_is_deleted(connection: redis.Redis, blobs: BlobStore) -> None:
    put_dataset(connection, blobs, b"owned")
    orphan, fresh = put(blobs, b"orphan"), put(blobs, b"fresh")
    aged(blobs, orphan)
    aged(blobs, digest_of(b"owned"))

    assert BlobOwners(connection, blobs).forget_unowned() == 1
    assert [blobs.exists(digest) for digest in (orphan, fresh, digest_of(b"owned"))] == [False, True, True]


def test_blob_when_it_is_uploaded_again_then_is_kept_for_another_day(connection: redis.Redis, blobs: BlobStore) -> None:
    aged(blobs, put(blobs, b"again"))
    put(blobs, b"again")

    assert BlobOwners(connection, blobs).forget_unowned() == 0
