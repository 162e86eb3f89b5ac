"""Attempts at jobs and inspections on a real store; the test sends the child's messages."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from safetensors.numpy import save

from tests.support.servers.redis_server import memory_limit
from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.folder_backend import FolderBackend
from unitrank_store.contents.models import ModelStore
from unitrank_store.contents.waiting_jobs import model_key
from unitrank_store.errors import Full
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.jobs.records import Kind
from unitrank_store.observability import tracing
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.throughput import Throughput
from unitrank_store.queue.rq_queue import JOBS, depth, enqueue_inspection
from unitrank_store.redis import keyspace
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_tables import ChunkDigests, VerifiedChunks
from unitrank_tables.chunk_digests import VerifiedMap
from unitrank_tables.errors import BadTable
from unitrank_tables.part import Part, decode_part, encode_part
from unitrank_worker.attempts import part_exchange
from unitrank_worker.attempts import stores as stores_module
from unitrank_worker.attempts.attempt import Attempt, CannotRun, Order, problem_of
from unitrank_worker.attempts.device_memory import DeviceMemory
from unitrank_worker.attempts.progress import ProgressWriter
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.failures import ending
from unitrank_worker.process.channel import Message
from unitrank_worker.tasks import start

REQUEST: Json = {"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"]}
MISSING = "sha256:" + "0" * 64
PROGRESS: Json = {"done": 1, "total": 2, "unit": "rows", "stage": "attribution", "eta": None}


def at_once(step: Callable[[], Any]) -> Any:
    """Call the step once: the store always answers."""
    return step()


def stores_of(connection: redis.Redis, state: Path, kind: Kind) -> Stores:
    settings = Settings(state=state)
    blobs = BlobStore.of(settings)
    return Stores(
        device="cpu",
        connection=connection,
        jobs=JobStore(connection, kind=kind),
        waiting=JobStore(connection),
        blobs=blobs,
        models=ModelStore(connection, blobs),
        results=ResultStore(connection, blobs, settings),
        parts=PartCache(connection, settings),
        throughput=Throughput(connection),
        counters=Counters(connection),
        memory=DeviceMemory(WorkerRegistry(connection), JOBS),
    )


@pytest.fixture
def stores(connection: redis.Redis, tmp_path: Path) -> Stores:
    return stores_of(connection, tmp_path, "job")


@pytest.fixture
def inspecting(connection: redis.Redis, tmp_path: Path) -> Stores:
    return stores_of(connection, tmp_path, "inspection")


def blob(stores: Stores, data: bytes) -> str:
    with stores.blobs.writer() as writer:
        writer.write(data)
    return writer.digest


def contents(stores: Stores, archive: bytes = b"archive") -> Json:
    """A ready model and a dataset, as in a job's record."""
    digest = blob(stores, archive)
    stores.models.begin("m", digest, len(archive), "1")
    stores.models.ready(digest, {"layers": []}, blob(stores, b"clean " + archive))
    return {"model": {"name": "m", "digest": digest}, "dataset": {"digest": blob(stores, b"table")}}


def begun(stores: Stores, resolved: Json) -> Attempt:
    attempt = start(stores, stores.jobs.create(REQUEST, resolved).id, worker="w", number=1)
    assert attempt is not None
    return attempt


def inspection_of(stores: Stores, archive: bytes) -> Attempt:
    """A started inspection of a model with these bytes."""
    digest = blob(stores, archive)
    model = stores.models.begin("m", digest, len(archive), "1").record
    attempt = start(stores, enqueue_inspection(stores.connection, model, Settings()).id, worker="w", number=1)
    assert attempt is not None
    return attempt


def result(**arrays: Any) -> Message:
    content = {"result": {"cost": {}, "rankings": []}, "progress": PROGRESS, "seconds": 1.0}
    return Message(content, save(arrays))


def test_job_when_ordered_then_the_child_gets_the_request_and_open_files(stores: Stores) -> None:
    resolved = contents(stores)
    order = begun(stores, resolved).order(warm=())

    assert [file.read() for file in order.files] == [b"table", b"clean archive"]
    assert order.content["request"] == REQUEST
    assert order.content["manifest"] == {"layers": []}
    assert order.content["resolved"]["clean"] == stores.models.get("m").clean
    assert "redis" not in str(order.content)
    for file in order.files:
        file.close()


def test_job_when_it_reads_datasets_of_scores_then_the_child_gets_them_between_dataset_and_archive(stores: Stores) -> None:
    scores = {name: {"name": name, "digest": blob(stores, name.encode())} for name in ("mine", "hers")}
    order = begun(stores, contents(stores) | {"further": scores}).order(warm=())

    assert [file.read() for file in order.files] == [b"table", b"mine", b"hers", b"clean archive"]
    assert order.content["further"] == ["mine", "hers"]
    assert len(order.content["digests"]) == 3
    for file in order.files:
        file.close()


def test_job_when_a_dataset_of_scores_is_missing_then_cannot_run(stores: Stores) -> None:
    attempt = begun(stores, contents(stores) | {"further": {"mine": {"name": "mine", "digest": MISSING}}})

    with pytest.raises(CannotRun) as caught:
        attempt.order(warm=())
    assert caught.value.code == "dataset_not_found"
    assert "dataset of scores" in caught.value.detail


def test_job_when_its_model_is_warm_then_the_archive_is_not_opened(stores: Stores) -> None:
    resolved = contents(stores)
    order = begun(stores, resolved | {"checked": True}).order(warm=[str(stores.models.get("m").clean)])

    assert [file.read() for file in order.files] == [b"table"]
    assert order.content["manifest"] is None
    order.files[0].close()


def damage_file(path: Path, damage: str) -> bytes:
    """Change the file in place, and return its content before."""
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)) if damage == "zeros" else whole[:3])
    return whole


@pytest.mark.parametrize("damage", ["zeros", "cut short"])
def test_job_when_its_model_is_damaged_then_is_corrupt_until_it_is_put_again(stores: Stores, damage: str) -> None:
    resolved = contents(stores)
    whole = damage_file(stores.blobs.path(str(stores.models.get("m").clean)), damage)

    with pytest.raises(CannotRun) as caught:
        begun(stores, resolved).order(warm=())
    problem = problem_of(caught.value)
    assert (problem["code"], problem["status"]) == ("model_corrupt", 500)
    blob(stores, whole)
    for file in begun(stores, resolved).order(warm=()).files:
        file.close()


@pytest.mark.parametrize("damage", ["zeros", "cut short"])
@pytest.mark.parametrize("when", ["before the order", "after the order"])
def test_job_when_its_dataset_is_damaged_then_is_corrupt_in_the_child_until_it_is_put_again(
    stores: Stores, damage: str, when: str
) -> None:
    """The parent sends digests of chunks, and the child verifies what it reads."""
    resolved = contents(stores)
    path = stores.blobs.path(resolved["dataset"]["digest"])
    whole = damage_file(path, damage) if when == "before the order" else b""
    order = begun(stores, resolved).order(warm=())
    whole = whole or damage_file(path, damage)

    def read(order: Order) -> bytes:
        with order.files[0] as table:
            digests = ChunkDigests.from_json(order.content["digests"][0])
            return VerifiedMap.open(table.fileno(), digests, VerifiedChunks())[:]

    with pytest.raises(BadTable) as caught:
        read(order)
    assert (caught.value.code, ending(caught.value)[1]["status"]) == ("dataset_corrupt", 500)  # type: ignore[index]
    order.close()
    blob(stores, whole)
    again = begun(stores, resolved).order(warm=())
    assert read(again) == whole
    again.close()


def test_job_when_its_dataset_has_no_chunk_digests_and_is_damaged_then_is_corrupt_before_the_order(stores: Stores) -> None:
    resolved = contents(stores)
    path = stores.blobs.path(resolved["dataset"]["digest"])
    path.with_suffix(".chunks").unlink()
    damage_file(path, "zeros")

    with pytest.raises(CannotRun) as caught:
        begun(stores, resolved).order(warm=())
    assert caught.value.code == "dataset_corrupt"


@pytest.mark.parametrize("kind", ["dataset", "model"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_job_when_a_fifo_or_a_folder_is_in_the_place_of_a_blob_then_is_corrupt(
    stores: Stores, kind: str, make: Callable[[Path], None]
) -> None:
    resolved = contents(stores)
    path = stores.blobs.path(resolved["dataset"]["digest"] if kind == "dataset" else str(stores.models.get("m").clean))
    path.unlink()
    make(path)

    with pytest.raises(CannotRun) as caught:
        begun(stores, resolved).order(warm=())
    assert caught.value.code == f"{kind}_corrupt"


def test_inspection_when_the_upload_is_damaged_then_the_model_is_rejected_until_it_is_put_again(inspecting: Stores) -> None:
    attempt = inspection_of(inspecting, b"archive")
    inspecting.blobs.path(str(attempt.record.request["digest"])).write_bytes(b"arch")

    with pytest.raises(CannotRun) as caught:
        attempt.order(warm=())
    attempt.finish("failed", problem_of(caught.value), at_once)
    assert inspecting.models.get("m").problem["code"] == "model_corrupt"  # type: ignore[index]
    assert inspecting.models.begin("m", blob(inspecting, b"archive"), 7, "1").inspect


def test_job_when_its_result_would_find_no_room_then_the_child_never_sees_it(stores: Stores) -> None:
    attempt = begun(stores, contents(stores) | {"result_bytes": 1024**2})
    used = int(stores.connection.info("memory")["used_memory"])
    with memory_limit(stores.connection, used + 1024**2), pytest.raises(Full) as caught:
        attempt.order(warm=())
    problem = problem_of(caught.value)

    assert (problem["code"], problem["status"], problem["retryable"]) == ("storage_full", 503, True)


@pytest.mark.parametrize(("memory", "refused"), [(0, False), (4_800_000_000, False), (4_799_999_999, True)])
def test_job_when_its_model_has_more_parameters_than_the_memory_then_says_both_sizes(
    stores: Stores, memory: int, refused: bool
) -> None:
    attempt = begun(stores, contents(stores))
    model = stores.model(attempt.record.resolved["model"]["digest"])
    assert model is not None
    stores.ready_models[model.digest] = replace(model, manifest={"parameters": 1_000_000_000})
    stores.memory.own = memory

    try:
        attempt.order(warm=()).close()
        problem = None
    except CannotRun as error:
        problem = problem_of(error)

    assert (problem is not None) is refused
    if problem is not None:
        assert problem["code"] == "model_too_large"
        assert "1,000,000,000 parameters" in problem["detail"]
        assert "at least 4.80 GB" in problem["detail"]
        assert "the largest worker has 4.80 GB" in problem["detail"]


@pytest.mark.parametrize(("content", "code"), [("model", "model_not_ready"), ("dataset", "dataset_not_found")])
def test_job_when_its_contents_were_just_deleted_then_the_problem_names_them(stores: Stores, content: str, code: str) -> None:
    attempt = begun(stores, contents(stores) | {content: {"name": "x", "digest": MISSING}})

    with pytest.raises(CannotRun, match="of this job was deleted") as caught:
        attempt.order(warm=())
    assert problem_of(caught.value)["code"] == code


def test_job_when_the_child_has_sent_its_result_then_the_store_has_it(stores: Stores) -> None:
    attempt = begun(stores, contents(stores) | {"flops": 10.0})
    attempt.take(result(x=np.ones(2, np.float32)))
    attempt.finish("succeeded", None, at_once)
    record = stores.jobs.get(attempt.record.id)

    assert (record.status, record.worker, record.progress) == ("succeeded", "w", PROGRESS)
    assert stores.results.summary(record.result) == {"cost": {}, "rankings": []}  # type: ignore[arg-type]
    assert stores.results.arrays(record.result)["x"].tolist() == [1, 1]  # type: ignore[arg-type]
    assert stores.results.unpublished() == []
    assert stores.throughput.rate("cpu") == 10


def test_job_when_its_result_is_too_large_then_fails_and_leaves_nothing(connection: redis.Redis, tmp_path: Path) -> None:
    stores = stores_of(connection, tmp_path, "job")
    stores.results = ResultStore(connection, stores.blobs, Settings(state=tmp_path, max_result_bytes=1000))
    attempt = begun(stores, contents(stores))
    attempt.take(result(x=np.ones(1000, np.float32)))
    attempt.finish("succeeded", None, at_once)
    record = stores.jobs.get(attempt.record.id)

    assert (record.status, (record.problem or {})["code"], record.result) == ("failed", "result_too_large", None)
    assert stores.results.unpublished() == []


def test_job_when_the_child_claims_success_without_a_result_then_fails(stores: Stores) -> None:
    attempt = begun(stores, contents(stores))
    attempt.finish("succeeded", None, at_once)

    assert (stores.jobs.get(attempt.record.id).problem or {})["code"] == "internal"


def test_job_when_it_was_given_to_another_attempt_then_its_result_is_deleted(stores: Stores) -> None:
    attempt = begun(stores, contents(stores))
    attempt.take(result(x=np.ones(2, np.float32)))
    stores.jobs.requeue(attempt.record.id, 1)
    attempt.finish("succeeded", None, at_once)

    assert stores.jobs.get(attempt.record.id).status == "queued"
    assert stores.results.unpublished() == []
    assert list(stores.connection.scan_iter("unitrank:chunk*")) == []


def test_job_when_it_cannot_be_counted_then_its_result_is_settled(stores: Stores) -> None:
    stores.connection.set(keyspace.counters(), "not a hash")
    attempt = begun(stores, contents(stores))
    outcome = result(x=np.ones(2, np.float32))
    outcome.content["result"]["rankings"] = [{"id": "g", "method": {"name": "gradient"}, "seconds": 0.5}]
    attempt.take(outcome)
    attempt.finish("succeeded", None, at_once)

    assert stores.jobs.get(attempt.record.id).status == "succeeded"
    assert stores.results.unpublished() == []


def test_job_when_the_store_is_away_at_its_end_then_each_step_is_tried_again(stores: Stores) -> None:
    attempt = begun(stores, contents(stores))
    attempt.take(result(x=np.ones(2, np.float32)))
    steps = 0

    def twice(step: Callable[[], Any]) -> Any:
        nonlocal steps
        steps += 1
        step()
        return step()

    attempt.finish("succeeded", None, twice)
    record = stores.jobs.get(attempt.record.id)

    assert steps == 2
    assert record.status == "succeeded"
    assert stores.results.arrays(record.result)["x"].tolist() == [1, 1]  # type: ignore[arg-type]


def test_parts_when_the_child_asks_then_gets_those_that_it_kept_and_no_other_tenants(stores: Stores) -> None:
    attempt = begun(stores, contents(stores))
    attempt.take(Message({"keep_part": "a"}, encode_part(Part(metadata={"x": 1}))))
    answer = attempt.take(Message({"find_parts": ["a", "b"]}))
    assert answer is not None
    ((name, size),) = answer.content["parts"]

    assert (name, size) == ("a", len(answer.payload))
    assert decode_part(answer.payload) == Part(metadata={"x": 1})
    assert stores.parts.of("another").get(["a"]) == {}


def test_message_when_of_an_unknown_kind_then_changes_nothing(stores: Stores) -> None:
    attempt = begun(stores, contents(stores))

    assert attempt.take(Message({"delete": "everything"})) is None
    assert attempt.take(Message({})) is None


def test_progress_when_it_comes_often_then_is_written_now_and_then(stores: Stores) -> None:
    record, now = begun(stores, contents(stores)).record, [0.0]
    write = ProgressWriter(stores.jobs, record, 1.0, clock=lambda: now[0])
    for done, moment in ((1, 0.0), (2, 0.5), (3, 1.1)):
        now[0] = moment
        write(PROGRESS | {"done": done})
    assert (stores.jobs.get(record.id).progress or {})["done"] == 3
    write(PROGRESS | {"done": 4, "total": 0})

    assert (stores.jobs.get(record.id).progress or {})["done"] == 4
    assert stores.jobs.get(record.id).version == record.version + 3


@pytest.mark.parametrize("change", ["cancel", "requeue"])
def test_progress_when_the_job_was_cancelled_or_reassigned_then_the_attempt_is_unwanted(stores: Stores, change: str) -> None:
    attempt = begun(stores, contents(stores))
    changes: dict[str, Callable[[str], JobRecord]] = {
        "cancel": stores.jobs.cancel,
        "requeue": lambda id: stores.jobs.requeue(id, 1),
    }
    changes[change](attempt.record.id)
    attempt.take(Message({"progress": PROGRESS}))

    assert attempt.unwanted


def test_job_when_it_may_not_run_then_no_attempt_begins(stores: Stores) -> None:
    record = stores.jobs.create(REQUEST)
    stores.jobs.cancel(record.id)
    lost = stores.jobs.create(REQUEST)
    stores.jobs.requeue(lost.id, stores.jobs.start(lost.id, "another", 1) or 0)

    assert start(stores, record.id, worker="w", number=1) is None
    assert start(stores, "nothing", worker="w", number=1) is None
    assert start(stores, lost.id, worker="w", number=1) is None
    assert (stores.jobs.get(lost.id).status, stores.jobs.get(lost.id).attempt) == ("queued", 1)


def test_manifests_when_there_are_many_then_only_the_newest_stay_at_hand(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_module, "MOST_READY", 1)
    for archive in (b"first", b"second"):
        for file in begun(stores, contents(stores, archive)).order(warm=()).files:
            file.close()

    assert list(stores.ready_models) == [stores.models.get("m").digest]


def test_model_when_it_passes_then_is_ready_and_waiting_jobs_are_queued(inspecting: Stores) -> None:
    attempt = inspection_of(inspecting, b"good")
    waiting = inspecting.waiting.create(REQUEST, waiting_for=[model_key(inspecting.models.get("m").digest)]).id
    (file,) = attempt.order(warm=()).files
    assert file.read() == b"good"
    file.close()
    for message in (
        Message({"archive": "piece"}, b"cl"),
        Message({"archive": "piece"}, b"ean"),
        Message({"manifest": {"layers": []}}),
    ):
        attempt.take(message)
    attempt.finish("succeeded", None, at_once)
    model = inspecting.models.get("m")

    assert (model.status, model.manifest) == ("ready", {"layers": []})
    assert inspecting.blobs.path(str(model.clean)).read_bytes() == b"clean"
    assert inspecting.jobs.get(attempt.record.id).status == "succeeded"
    assert (inspecting.waiting.get(waiting).status, depth(inspecting.connection)) == ("queued", 1)


def test_model_when_it_does_not_pass_then_is_rejected_and_waiting_jobs_fail(inspecting: Stores) -> None:
    attempt = inspection_of(inspecting, b"bad")
    waiting = inspecting.waiting.create(REQUEST, waiting_for=[model_key(inspecting.models.get("m").digest)]).id
    attempt.finish("failed", {"code": "bad_archive", "title": "t", "detail": "d", "status": 422, "retryable": False}, at_once)

    assert inspecting.models.get("m").status == "rejected"
    assert (inspecting.waiting.get(waiting).problem or {})["code"] == "bad_archive"


def test_model_when_deleted_during_its_inspection_then_nothing_is_left_waiting(inspecting: Stores) -> None:
    attempt = inspection_of(inspecting, b"good")
    inspecting.models.delete("m")
    attempt.take(Message({"archive": "piece"}, b"clean"))
    attempt.take(Message({"manifest": {"layers": []}}))
    attempt.finish("succeeded", None, at_once)

    assert inspecting.jobs.get(attempt.record.id).ended


def test_inspection_when_its_child_is_killed_then_no_half_of_an_archive_is_left(inspecting: Stores) -> None:
    attempt = inspection_of(inspecting, b"good")
    attempt.take(Message({"archive": "piece"}, b"half of it"))
    assert len(list(inspecting.blobs.spool.iterdir())) == 1
    attempt.abandon()

    assert list(inspecting.blobs.spool.iterdir()) == []


def test_inspection_when_the_child_claims_success_without_a_manifest_then_fails(inspecting: Stores) -> None:
    attempt = inspection_of(inspecting, b"good")
    attempt.take(Message({"archive": "piece"}, b"clean"))
    attempt.finish("succeeded", None, at_once)

    assert (inspecting.jobs.get(attempt.record.id).problem or {})["code"] == "internal"
    assert inspecting.models.get("m").status == "rejected"


def test_archive_when_larger_than_allowed_then_the_inspection_fails_and_nothing_is_left(inspecting: Stores) -> None:
    inspecting.most_archive_bytes = 10
    attempt = inspection_of(inspecting, b"good")
    for _ in range(3):
        attempt.take(Message({"archive": "piece"}, b"123456"))
    attempt.take(Message({"manifest": {"layers": []}}))
    attempt.finish("succeeded", None, at_once)

    assert inspecting.models.get("m").status == "rejected"
    assert list(inspecting.blobs.spool.iterdir()) == []


def test_archive_when_it_cannot_be_stored_then_the_inspection_fails(inspecting: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(self: FolderBackend, file: Path, name: str) -> None:
        raise OSError("no space left on device")

    attempt = inspection_of(inspecting, b"good")
    attempt.take(Message({"archive": "piece"}, b"clean"))
    attempt.take(Message({"manifest": {"layers": []}}))
    monkeypatch.setattr(FolderBackend, "put", full_disk)
    attempt.finish("succeeded", None, at_once)

    assert (inspecting.jobs.get(attempt.record.id).problem or {})["code"] == "internal"
    assert list(inspecting.blobs.spool.iterdir()) == []


@pytest.mark.parametrize("summary", [{"cost": 1}, {"rankings": [{"id": "x", "seconds": 1.0}]}])
def test_summary_when_malformed_then_the_job_ends_all_the_same(stores: Stores, summary: Json) -> None:
    attempt = begun(stores, contents(stores))
    attempt.take(Message({"result": summary, "progress": None, "seconds": 1.0}, save({})))
    attempt.finish("succeeded", None, at_once)

    assert stores.jobs.get(attempt.record.id).status == "succeeded"


def test_spans_when_a_child_floods_then_few_reach_the_trace(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(tracing, "past", lambda name, **times: names.append(name))
    attempt = begun(stores, contents(stores))
    for since in (-1.0, 5.0, float("nan"), float("inf")):
        attempt.take(Message({"span": "out of time", "since": since, "until": 1.0}))
    for _ in range(1000):
        attempt.take(Message({"span": "x" * 100_000, "since": 1.0, "until": 2.0}))

    assert 0 < len(names) <= 100
    assert max(map(len, names)) <= 256


def test_parts_when_a_child_asks_for_many_then_the_answer_has_an_end(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_exchange, "ANSWER_BYTES", 1)
    attempt = begun(stores, contents(stores))
    names = [f"{number:x}" for number in range(3 * part_exchange.FINGERPRINTS_AT_ONCE)]
    for name in names:
        attempt.take(Message({"keep_part": name}, encode_part(Part())))
    answer = attempt.take(Message({"find_parts": names}))
    assert answer is not None

    assert len(answer.content["parts"]) == part_exchange.FINGERPRINTS_AT_ONCE
