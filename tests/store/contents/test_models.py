"""Models and what they share with datasets, on a real store."""

import threading
from pathlib import Path

import pytest
import redis

from unitrank_store.blobs import ownership
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelStore, NamedModel
from unitrank_store.errors import RecordNotFound, StateConflict, Unavailable
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis import keyspace, leases

MANIFEST = {"inputs": [], "layers": [{"name": "conv1", "flops": 1e9}], "parameters": 3}
PROBLEM = {"code": "operator_not_allowed", "detail": "from_file"}


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path.as_uri())


@pytest.fixture
def models(connection: redis.Redis, blobs: BlobStore) -> ModelStore:
    return ModelStore(connection, blobs)


def blob(blobs: BlobStore, data: bytes) -> str:
    with blobs.writer() as sink:
        sink.write(data)
    return sink.digest


def begin(models: ModelStore, blobs: BlobStore, name: str, data: bytes, engine: str = "1") -> NamedModel:
    return models.begin(name, blob(blobs, data), len(data), engine)


def make_ready(models: ModelStore, blobs: BlobStore, digest: str, clean: bytes = b"clean") -> str:
    clean_digest = blob(blobs, clean)
    models.ready(digest, MANIFEST, clean_digest)
    return clean_digest


def add(models: ModelStore, blobs: BlobStore, name: str, data: bytes) -> str:
    """Upload a model and make it ready; return its digest."""
    digest = begin(models, blobs, name, data).record.digest
    make_ready(models, blobs, digest, b"clean " + data)
    return digest


def test_begin_when_the_content_is_new_asks_for_its_inspection(models: ModelStore, blobs: BlobStore) -> None:
    record, existed, inspect = begin(models, blobs, "mnist", b"archive")

    assert (existed, inspect) == (False, True)
    assert (record.name, record.bytes, record.status, record.manifest) == ("mnist", 7, "inspecting", None)
    assert models.get("mnist") == models.get(f"mnist@{record.digest}") == models.resolve("mnist") == record


def test_ready_stores_the_manifest_and_the_clean_archive(models: ModelStore, blobs: BlobStore) -> None:
    digest = begin(models, blobs, "mnist", b"archive").record.digest
    clean = make_ready(models, blobs, digest)
    record = models.get("mnist")

    assert (record.status, record.manifest, record.clean) == ("ready", MANIFEST, clean)
    assert models.content(digest).manifest == MANIFEST


def test_reject_stores_the_problem(models: ModelStore, blobs: BlobStore) -> None:
    digest = begin(models, blobs, "mnist", b"archive").record.digest
    models.reject(digest, PROBLEM)
    record = models.get("mnist")

    assert (record.status, record.problem, record.clean) == ("rejected", PROBLEM, None)


def test_begin_when_the_same_content_comes_again_inspects_nothing(models: ModelStore, blobs: BlobStore) -> None:
    first = begin(models, blobs, "mnist", b"archive").record
    while_inspecting = begin(models, blobs, "mnist", b"archive")
    make_ready(models, blobs, first.digest)
    again = begin(models, blobs, "mnist", b"archive")
    copy = begin(models, blobs, "copy", b"archive")

    assert (while_inspecting.existed, while_inspecting.inspect) == (True, False)
    assert (again.existed, again.inspect, again.record.status) == (True, False, "ready")
    assert again.record.created_at == first.created_at
    assert (copy.existed, copy.inspect, copy.record.manifest) == (False, False, MANIFEST)
    assert models.resolve("copy").status == "ready"


def test_begin_when_the_engine_is_newer_inspects_again(models: ModelStore, blobs: BlobStore) -> None:
    digest = add(models, blobs, "mnist", b"archive")
    again = begin(models, blobs, "mnist", b"archive", engine="2")
    once_more = begin(models, blobs, "mnist", b"archive", engine="2")
    newer = make_ready(models, blobs, digest, b"cleaned better")

    assert (again.existed, again.inspect, again.record.status) == (True, True, "inspecting")
    assert once_more.inspect is False
    assert models.get("mnist").clean == newer
    assert blobs.exists(newer)


@pytest.mark.parametrize("damage", [b"clean archive"[:5], b"", None])
def test_begin_when_the_cleaned_archive_is_damaged_inspects_again(
    models: ModelStore, blobs: BlobStore, damage: bytes | None
) -> None:
    digest = begin(models, blobs, "mnist", b"archive").record.digest
    clean = blobs.path(make_ready(models, blobs, digest, b"clean archive"))
    if damage is None:
        clean.unlink()
    else:
        clean.write_bytes(damage)

    again = begin(models, blobs, "mnist", b"archive")
    assert (again.inspect, again.record.status) == (True, "inspecting")
    make_ready(models, blobs, digest, b"clean archive")
    assert models.get("mnist").status == "ready"
    assert not begin(models, blobs, "mnist", b"archive").inspect


def test_begin_when_the_upload_was_damaged_before_its_inspection_inspects_again(models: ModelStore, blobs: BlobStore) -> None:
    digest = begin(models, blobs, "mnist", b"archive").record.digest
    models.reject(digest, {"code": "model_corrupt", "detail": "x"})

    assert begin(models, blobs, "mnist", b"archive").inspect


def test_begin_when_the_bytes_are_gone_is_a_conflict(models: ModelStore, blobs: BlobStore) -> None:
    digest = blob(blobs, b"archive")
    blobs.delete(digest)

    with pytest.raises(StateConflict, match="upload it again"):
        models.begin("mnist", digest, 7, "1")
    with pytest.raises(RecordNotFound):
        models.get("mnist")


def test_name_means_the_last_content_that_became_ready(models: ModelStore, blobs: BlobStore) -> None:
    first = add(models, blobs, "mnist", b"one")
    second = begin(models, blobs, "mnist", b"two").record.digest

    assert models.get("mnist").digest == second
    assert models.resolve("mnist").digest == first

    models.reject(second, PROBLEM)
    assert models.resolve("mnist").digest == first

    third = add(models, blobs, "mnist", b"three")
    assert models.resolve("mnist").digest == third

    begin(models, blobs, "mnist", b"one")
    assert models.get("mnist").digest == models.resolve("mnist").digest == first


def test_ready_of_a_content_under_two_names_moves_both(models: ModelStore, blobs: BlobStore) -> None:
    digest = begin(models, blobs, "a", b"one").record.digest
    begin(models, blobs, "b", b"one")
    add(models, blobs, "b", b"two")
    make_ready(models, blobs, digest)

    assert models.resolve("a").digest == models.resolve("b").digest == digest


def test_ready_again_by_another_name_leaves_a_name_that_moved_on(models: ModelStore, blobs: BlobStore) -> None:
    first = add(models, blobs, "a", b"one")
    second = add(models, blobs, "a", b"two")
    begin(models, blobs, "b", b"one", engine="2")
    make_ready(models, blobs, first)

    assert models.resolve("a").digest == second
    assert models.resolve("b").digest == first


@pytest.mark.parametrize("reference", ["mnist", f"mnist@sha256:{'0' * 64}", "../etc", "", "mnist@", "mnist@sha256:0", "a" * 200])
def test_get_when_the_name_is_unknown_is_not_found(models: ModelStore, reference: str) -> None:
    for ask in (models.get, models.resolve, models.delete):
        with pytest.raises(RecordNotFound):
            ask(reference)


def test_get_by_a_digest_of_another_name_is_not_found(models: ModelStore, blobs: BlobStore) -> None:
    digest = add(models, blobs, "mine", b"one")
    add(models, blobs, "yours", b"two")

    with pytest.raises(RecordNotFound):
        models.get(f"yours@{digest}")


def test_list_shows_each_name_once_in_pages(models: ModelStore, blobs: BlobStore) -> None:
    for name in ("c", "a", "b"):
        begin(models, blobs, name, b"one " + name.encode())
    newest = begin(models, blobs, "b", b"two").record
    first, cursor = models.list(limit=2)
    second, end = models.list(limit=2, after=cursor)

    assert [record.name for record in first] == ["a", "b"]
    assert first[1] == newest
    assert [record.name for record in second] == ["c"]
    assert (cursor, end) == ("b", None)


def test_delete_removes_the_name_and_its_blobs(models: ModelStore, blobs: BlobStore, connection: redis.Redis) -> None:
    digests = [add(models, blobs, "mnist", data) for data in (b"one", b"two")]
    cleans = [models.content(digest).clean for digest in digests]
    models.delete("mnist")

    assert not any(blobs.exists(digest) for digest in [*digests, *map(str, cleans)])
    assert connection.keys("*") == []
    assert models.list() == ([], None)


def test_delete_of_one_content_leaves_the_others(models: ModelStore, blobs: BlobStore) -> None:
    first, second = (add(models, blobs, "mnist", data) for data in (b"one", b"two"))
    models.delete(f"mnist@{second}")

    assert models.get("mnist").digest == models.resolve("mnist").digest == first
    assert not blobs.exists(second)

    models.delete(f"mnist@{first}")
    with pytest.raises(RecordNotFound):
        models.get("mnist")


def test_delete_when_another_name_has_the_content_keeps_it(models: ModelStore, blobs: BlobStore) -> None:
    digest = add(models, blobs, "a", b"one")
    begin(models, blobs, "b", b"one")
    models.delete("a")

    assert models.resolve("b").manifest == MANIFEST
    assert blobs.exists(digest)

    models.delete("b")
    assert not blobs.exists(digest)


def test_delete_when_a_live_job_needs_it_is_a_conflict(models: ModelStore, blobs: BlobStore, connection: redis.Redis) -> None:
    digest = add(models, blobs, "mnist", b"one")
    connection.sadd(keyspace.pins(digest), "job")
    for reference in ("mnist", f"mnist@{digest}"):
        with pytest.raises(StateConflict, match="cancel the job or wait"):
            models.delete(reference)

    assert models.get("mnist").status == "ready"
    assert blobs.exists(digest)

    connection.delete(keyspace.pins(digest))
    models.delete("mnist")
    assert not blobs.exists(digest)


def test_delete_when_a_job_has_ended_is_allowed(models: ModelStore, blobs: BlobStore, connection: redis.Redis) -> None:
    jobs = JobStore(connection)
    digest = add(models, blobs, "mnist", b"one")
    job = jobs.create({"model": "mnist"}, needs=[digest])
    with pytest.raises(StateConflict):
        models.delete("mnist")
    jobs.cancel(job.id)
    models.delete("mnist")

    assert not blobs.exists(digest)


def test_changes_when_another_takes_too_long_then_raise(
    models: ModelStore, blobs: BlobStore, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_store.blobs.ownership.PATIENCE", 0.01)
    with connection.lock(keyspace.contents_lock(), timeout=60), pytest.raises(Unavailable, match="send the request again"):
        begin(models, blobs, "mnist", b"one")

    assert begin(models, blobs, "mnist", b"one").inspect


def test_change_when_a_killed_process_held_the_lock_then_waits_for_its_end(connection: redis.Redis, models: ModelStore) -> None:
    # A lease ends before the patience of those who wait for it.
    assert leases.SECONDS < ownership.PATIENCE
    connection.set(keyspace.contents_lock(), "of a killed process", px=200)
    with models.changing():
        assert connection.get(keyspace.contents_lock()) != b"of a killed process"


def test_list_leaves_out_a_model_that_is_being_deleted(models: ModelStore, blobs: BlobStore, connection: redis.Redis) -> None:
    record = begin(models, blobs, "b", b"two").record
    connection.zadd(keyspace.all_names("model"), {"a": 0})

    assert models.list() == ([record], None)


def test_delete_while_inspecting_then_ready_leaves_nothing(models: ModelStore, blobs: BlobStore, connection: redis.Redis) -> None:
    digest = begin(models, blobs, "mnist", b"one").record.digest
    models.delete("mnist")
    clean = blob(blobs, b"clean")

    with pytest.raises(RecordNotFound):
        models.ready(digest, MANIFEST, clean)
    with pytest.raises(RecordNotFound):
        models.reject(digest, PROBLEM)
    assert not blobs.exists(clean)
    assert connection.keys("*") == []


def test_two_models_with_the_same_clean_archive_share_it(models: ModelStore, blobs: BlobStore) -> None:
    for name in ("a", "b"):
        clean = make_ready(models, blobs, begin(models, blobs, name, name.encode()).record.digest, b"same")
    models.delete("a")

    assert blobs.exists(clean)

    models.delete("b")
    assert not blobs.exists(clean)


def test_uploads_and_deletions_at_the_same_time_never_leave_a_record_without_bytes(
    connection: redis.Redis, models: ModelStore, blobs: BlobStore
) -> None:
    def upload(name: str) -> None:
        for _ in range(15):
            try:
                begin(models, blobs, name, b"the same")
                models.delete(name)
            except StateConflict:
                pass

    threads = [threading.Thread(target=upload, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = None
    for _ in range(3):
        record = begin(models, blobs, "last", b"the same").record

    assert record is not None
    assert blobs.exists(record.digest)
    assert connection.smembers(keyspace.owners(record.digest)) == {f"model:{record.digest}".encode()}
