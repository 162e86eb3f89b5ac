"""Datasets on a real store."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest
import redis

from unitrank_schemas.datasets import FieldInfo
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetRecord, DatasetStore
from unitrank_store.errors import RecordNotFound, StateConflict
from unitrank_store.redis import keyspace
from unitrank_tables import encode_inline, open_table


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path.as_uri())


@pytest.fixture
def datasets(connection: redis.Redis, blobs: BlobStore) -> DatasetStore:
    return DatasetStore(connection, blobs)


def put(datasets: DatasetStore, blobs: BlobStore, name: str, rows: int = 3) -> tuple[DatasetRecord, bool]:
    npz = io.BytesIO()
    np.savez(npz, x=np.zeros((rows, 2), np.float32))
    with blobs.writer() as sink:
        sink.write(npz.getvalue())
        with open_table(sink.path) as table:
            described = table.fields, table.examples, table.format
    return datasets.put(name, sink.digest, sink.size, *described)


def test_put_stores_the_facts_of_the_header(datasets: DatasetStore, blobs: BlobStore) -> None:
    record, created = put(datasets, blobs, "digits")

    assert created
    assert (record.name, record.status, record.examples, record.format) == ("digits", "ready", 3, "npz")
    assert record.fields == {"x": {"dtype": "float32", "shape": [None, 2]}}
    assert datasets.get("digits") == datasets.resolve("digits") == datasets.get(f"digits@{record.digest}") == record


def test_put_of_the_same_bytes_changes_nothing(datasets: DatasetStore, blobs: BlobStore) -> None:
    first, _ = put(datasets, blobs, "digits")
    second, created = put(datasets, blobs, "digits")

    assert (second, created) == (first, False)


def test_put_of_other_bytes_moves_the_name_and_keeps_the_old_content(datasets: DatasetStore, blobs: BlobStore) -> None:
    first, _ = put(datasets, blobs, "digits")
    second, created = put(datasets, blobs, "digits", rows=4)

    assert created
    assert datasets.resolve("digits") == second
    assert datasets.get(f"digits@{first.digest}") == first


def test_delete_removes_the_bytes_unless_a_live_job_needs_them(
    datasets: DatasetStore, blobs: BlobStore, connection: redis.Redis
) -> None:
    record, _ = put(datasets, blobs, "digits")
    connection.sadd(keyspace.pins(record.digest), "job")
    with pytest.raises(StateConflict):
        datasets.delete("digits")
    connection.delete(keyspace.pins(record.digest))
    datasets.delete("digits")

    assert not blobs.exists(record.digest)
    assert connection.keys("*") == []


def test_inline_fields_are_stored_until_they_are_released(
    datasets: DatasetStore, blobs: BlobStore, connection: redis.Redis
) -> None:
    record = datasets.inline(encode_inline({"x": [[0.5, 1.0], [2.0, 3.0]], "y": [0, 1]}), "job-1")
    again = datasets.inline(encode_inline({"y": [0, 1], "x": [[0.5, 1.0], [2.0, 3.0]]}), "job-2")

    assert again == record == datasets.content(record.digest)
    assert (record.name, record.examples) == (None, 2)
    with open_table(blobs.path(record.digest)) as table:
        assert table.read("x", slice(None)).tolist() == [[0.5, 1.0], [2.0, 3.0]]
    assert datasets.list() == ([], None)
    assert sorted(datasets.holders()) == [(record.digest, "job-1"), (record.digest, "job-2")]

    datasets.release(record.digest, "job-1")
    assert blobs.exists(record.digest)

    for _ in range(2):
        datasets.release(record.digest, "job-2")
    assert not blobs.exists(record.digest)
    assert connection.keys("*") == []
    with pytest.raises(RecordNotFound):
        datasets.content(record.digest)


def test_release_of_an_inline_content_that_was_also_uploaded_keeps_it(datasets: DatasetStore, blobs: BlobStore) -> None:
    record = datasets.inline(encode_inline({"x": [1, 2]}), "job-1")
    datasets.put("named", record.digest, record.bytes, record.fields, record.examples, record.format)
    datasets.release(record.digest, "job-1")

    assert datasets.get("named").digest == record.digest
    assert blobs.exists(record.digest)


def test_name_when_its_import_ends_then_is_always_listed(datasets: DatasetStore, blobs: BlobStore) -> None:
    uploaded, _ = put(datasets, blobs, "uploaded")
    assert uploaded.examples is not None
    fields = {name: FieldInfo(**info) for name, info in uploaded.fields.items()}
    over = threading.Event()

    def arrive() -> None:
        try:
            for _ in range(100):
                key = datasets.begin("data", "https://data.example.org/a.npz").digest
                datasets.arrived(key, uploaded.digest, uploaded.bytes, fields, 3, "npz")
                datasets.finish_import(key)
        finally:
            over.set()

    datasets.begin("data", "https://data.example.org/a.npz")
    arriving = threading.Thread(target=arrive)
    arriving.start()
    try:
        while not over.is_set():
            assert datasets.get("data").status in ("importing", "ready")
            assert [record.name for record in datasets.list()[0]] == ["data", "uploaded"]
    finally:
        arriving.join()
