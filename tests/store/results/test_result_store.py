"""Results on a real store, in Redis and in the blob store."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from safetensors.numpy import load

from tests.support.servers.redis_server import memory_limit
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.errors import Corrupt, Full, RecordNotFound, SizeExceeded
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.results.array_file import ArrayFile
from unitrank_store.results.result_store import Arrays, ResultStore
from unitrank_store.settings import Settings
from unitrank_tables.sizes import MiB

SUMMARY = {"job": "1", "rankings": [{"id": "gradient", "p_value": 0.01, "area": None}], "name": "é"}
ARRAYS: Arrays = {
    "importance/gradient": np.arange(600_000, dtype=np.float64).reshape(2, -1),
    "rows/0": np.array([3, 1, 2], np.int32),
}


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture(params=["redis", "blobs"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def results(connection: redis.Redis, blobs: BlobStore, place: str) -> ResultStore:
    return ResultStore(connection, blobs, Settings(redis_result_bytes=MiB * (32 if place == "redis" else 1), result_ttl=600))


@pytest.fixture
def small_server(connection: redis.Redis) -> Iterator[redis.Redis]:
    """A server with 4 MiB left."""
    with memory_limit(connection, connection.info("memory")["used_memory"] + 4 * MiB):
        yield connection


def files(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_result_when_put_is_read_as_it_was(results: ResultStore, place: str) -> None:
    location = results.put(SUMMARY, ARRAYS)
    arrays = results.arrays(location)

    assert location["place"] == place
    assert results.summary(location) == SUMMARY
    assert {name: array.dtype for name, array in arrays.items()} == {"importance/gradient": np.float32, "rows/0": np.int64}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_arrays_bytes_are_a_safetensors_file_in_pieces(results: ResultStore) -> None:
    location = results.put(SUMMARY, ARRAYS)
    pieces = list(results.arrays_bytes(location))

    assert max(map(len, pieces)) <= MiB
    assert sum(map(len, pieces)) == location["arrays_bytes"]
    assert load(b"".join(pieces))["rows/0"].tolist() == [3, 1, 2]


def test_result_without_arrays_is_a_result(results: ResultStore) -> None:
    location = results.put({}, {})

    assert results.summary(location) == {}
    assert results.arrays(location) == {}


def test_delete_leaves_nothing_and_may_be_repeated(
    results: ResultStore, connection: redis.Redis, blobs: BlobStore, tmp_path: Path
) -> None:
    location = results.put(SUMMARY, ARRAYS)
    results.delete(location)
    results.delete(location)

    assert connection.keys("*") == []
    assert files(tmp_path) == []
    for read in (results.summary, results.arrays, results.arrays_bytes):
        with pytest.raises(RecordNotFound):
            read(location)


def test_delete_of_a_result_leaves_an_equal_one(results: ResultStore) -> None:
    first, second = results.put(SUMMARY, ARRAYS), results.put(SUMMARY, ARRAYS)
    results.delete(first)

    assert first["arrays"] == second["arrays"]
    assert results.summary(second) == SUMMARY
    assert len(results.arrays(second)) == 2


def test_put_when_it_fails_leaves_nothing(
    results: ResultStore, connection: redis.Redis, blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("cut")

    monkeypatch.setattr(blobs._backend, "put", fail)
    put = results._chunks.put
    monkeypatch.setattr(
        results._chunks, "put", lambda data, *rest, **owner: put(data, *rest, **owner) if len(data) < MiB else fail()
    )
    with pytest.raises(OSError, match="cut"):
        results.put(SUMMARY, ARRAYS)
    for member in texts(connection.zrange(keyspace.result_blobs(), 0, -1)):
        connection.zadd(keyspace.result_blobs(), {member: 1})
    results.sweep()

    assert connection.keys("*") == []
    assert files(tmp_path) == []


def test_sweep_removes_blobs_whose_time_is_over_and_no_others(results: ResultStore, place: str, connection: redis.Redis) -> None:
    current, expired = (results.put(SUMMARY, {"x": np.full(MiB, value)}) for value in (1.0, 2.0))
    if place == "blobs":
        connection.zadd(keyspace.result_blobs(), {f"{expired['arrays']} {expired['owner']}": 1})

        assert results.sweep() == 1
        with pytest.raises(RecordNotFound):
            results.arrays(expired)
    assert results.sweep() == 0
    assert results.arrays(current)["x"][0] == 1.0


def test_arrays_when_the_stored_bytes_changed_are_corrupt(
    results: ResultStore, place: str, connection: redis.Redis, blobs: BlobStore
) -> None:
    location = results.put(SUMMARY, ARRAYS)
    if place == "redis":
        connection.setrange(keyspace.chunk(location["arrays"], 1), 7, b"other")
    else:
        with blobs.path(location["arrays"]).open("r+b") as file:
            file.seek(MiB)
            file.write(b"other")

    with pytest.raises(Corrupt, match=location["arrays"]):
        results.arrays(location)


def test_put_over_the_limit_is_too_large(connection: redis.Redis, blobs: BlobStore) -> None:
    results = ResultStore(connection, blobs, Settings(max_result_bytes=1000))

    with pytest.raises(SizeExceeded, match="at most 1000"):
        results.put(SUMMARY, ARRAYS)
    assert connection.keys("*") == []


@pytest.mark.parametrize("arrays", [{"x": np.array(["a"])}, {"x": np.array([1j])}, {"x": np.array([None])}])
def test_put_of_other_elements_is_refused(connection: redis.Redis, blobs: BlobStore, arrays: Arrays) -> None:
    with pytest.raises(ValueError, match="real numbers"):
        ResultStore(connection, blobs, Settings()).put(SUMMARY, arrays)


def test_put_of_a_summary_with_nan_is_refused(connection: redis.Redis, blobs: BlobStore) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        ResultStore(connection, blobs, Settings()).put({"area": float("nan")}, {})


def test_put_when_memory_is_short_is_full_before_anything_is_written(small_server: redis.Redis, blobs: BlobStore) -> None:
    results = ResultStore(small_server, blobs, Settings())

    with pytest.raises(Full, match="no room"):
        results.put(SUMMARY, {"x": np.zeros(5 * MiB // 4)})
    assert small_server.keys("*") == []


def test_put_when_memory_runs_out_midway_is_full_and_leaves_nothing(
    small_server: redis.Redis, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = ResultStore(small_server, blobs, Settings())
    monkeypatch.setattr(results, "require_room", lambda *_: None)

    with pytest.raises(Full, match="later"):
        results.put(SUMMARY, {"x": np.random.default_rng(0).random(2 * MiB)})
    assert small_server.keys("*") == []


def test_put_when_the_arrays_go_to_blobs_needs_little_memory(small_server: redis.Redis, blobs: BlobStore) -> None:
    results = ResultStore(small_server, blobs, Settings(redis_result_bytes=MiB))

    assert results.put(SUMMARY, {"x": np.zeros(2 * MiB)})["place"] == "blobs"


def test_array_file_when_read_in_pieces_has_the_arrays(results: ResultStore, place: str) -> None:
    with results.array_file(results.put(SUMMARY, ARRAYS)) as arrays:
        assert set(arrays.arrays) == set(ARRAYS)
        assert arrays.arrays["importance/gradient"].shape == (2, 300_000)
        np.testing.assert_array_equal(arrays.read("importance/gradient", 299_999, 300_001), [299_999, 300_000])
        np.testing.assert_array_equal(arrays.read("rows/0", 0, 3), [3, 1, 2])
        assert arrays.read("rows/0", 0, 3).dtype == np.int64


def test_array_path_when_its_file_is_mapped_has_the_arrays_and_copies_are_deleted(
    results: ResultStore, blobs: BlobStore, tmp_path: Path
) -> None:
    arrays = {**ARRAYS, "rows/1": np.empty((0, 3), np.int32)}
    location = results.put(SUMMARY, arrays)
    before = files(tmp_path)
    with results.array_path(location) as path, ArrayFile(path.open("rb")) as file:
        mapped = file.mapped()
        assert mapped.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(mapped[name], array)
    assert files(tmp_path) == before


def test_array_file_when_written_as_npy_is_what_numpy_writes(results: ResultStore) -> None:
    written, expected = io.BytesIO(), io.BytesIO()
    with results.array_file(results.put(SUMMARY, ARRAYS)) as arrays:
        arrays.write_npy("importance/gradient", written)
    np.save(expected, np.asarray(ARRAYS["importance/gradient"], np.float32))

    assert written.getvalue() == expected.getvalue()


def test_array_file_when_the_bytes_are_damaged_is_corrupt(
    connection: redis.Redis, blobs: BlobStore, results: ResultStore, place: str
) -> None:
    location = results.put(SUMMARY, ARRAYS)
    if place == "redis":
        connection.setrange(keyspace.chunk(location["arrays"], 1), 1000, b"\0" * 100)
    else:
        with blobs.path(location["arrays"]).open("r+b") as file:
            file.seek(MiB + 1000)
            file.write(b"\0" * 100)

    with pytest.raises(Corrupt, match=location["arrays"]):
        results.array_file(location)
