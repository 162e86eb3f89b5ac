"""The two tasks, in this process and on a real store."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.contents.waiting_jobs import model_key
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.throughput import Throughput
from unitrank_store.queue.rq_queue import depth, enqueue_inspection, push, queue_of, transport_id
from unitrank_store.queue.safe_job import TASKS, SafeJob
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_worker import tasks
from unitrank_worker.engine import Arrays, Assignment, Report
from unitrank_worker.tasks import DESK, Desk, inspect_model, run_job

REQUEST: Json = {"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"]}


class Counting:
    """Reports a hundred steps; inspects what does not begin with `bad`."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self.between: list[str] = []
        self.jobs: JobStore | None = None
        self.seen: Assignment | None = None

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        self.seen = assignment
        for done in range(100):
            report({"done": done + 1, "total": 100, "unit": "rows", "stage": "attribution", "eta": None})
            if self.jobs is not None:
                self.jobs.cancel(assignment.id)
        return {"job": assignment.id}, {"importance/gradient": np.ones((1, 2), np.float32)}

    def inspect(self, model: ModelRecord) -> tuple[str, Json]:
        data = self.blobs.path(model.digest).read_bytes()
        if data.startswith(b"bad"):
            raise EngineError("bad_archive", "it begins with bad")
        with self.blobs.writer() as writer:
            writer.write(b"clean " + data)
        return writer.digest, {"layers": []}

    def warm(self) -> list[str]:
        return []


@pytest.fixture
def desk(connection: redis.Redis, tmp_path: Path) -> Iterator[Desk]:
    settings = Settings(state=tmp_path)
    blobs = BlobStore.of(settings)
    desk = Desk(
        worker="w",
        device="cpu",
        connection=connection,
        jobs=JobStore(connection),
        inspections=JobStore(connection, kind="inspection"),
        progress=JobStore(connection),
        models=ModelStore(connection, blobs),
        results=ResultStore(connection, blobs, settings),
        parts=PartCache(connection, settings),
        rates=Throughput(connection),
        tallies=Counters(connection),
        engine=Counting(blobs),
    )
    token = DESK.set(desk)
    table = TASKS.set({"run_job": run_job, "inspect_model": inspect_model})
    yield desk
    TASKS.reset(table)
    DESK.reset(token)


def engine(desk: Desk) -> Counting:
    assert isinstance(desk.engine, Counting)
    return desk.engine


def upload(desk: Desk, data: bytes) -> str:
    """The inspection of a model with these bytes, queued."""
    with engine(desk).blobs.writer() as writer:
        writer.write(data)
    desk.models.begin("m", writer.digest, len(data), "1")
    return enqueue_inspection(desk.connection, writer.digest, 60).id


def test_job_when_run_then_its_result_lies_in_the_store(desk: Desk) -> None:
    id = desk.jobs.create(REQUEST).id
    run_job(id)
    record = desk.jobs.get(id)

    assert (record.status, record.worker, record.problem) == ("succeeded", "w", None)
    assert desk.results.summary(record.result) == {"job": id}  # type: ignore[arg-type]
    assert list(desk.results.arrays(record.result)) == ["importance/gradient"]  # type: ignore[arg-type]


def test_job_when_its_result_would_find_no_room_then_is_not_computed(desk: Desk) -> None:
    id = desk.jobs.create(REQUEST, {"result_bytes": 1024**2}).id
    limit = str(desk.connection.config_get("maxmemory")["maxmemory"])
    desk.connection.config_set("maxmemory", int(desk.connection.info("memory")["used_memory"]) + 1024**2)
    try:
        run_job(id)
    finally:
        desk.connection.config_set("maxmemory", limit)
    problem = desk.jobs.get(id).problem or {}

    assert (desk.jobs.get(id).status, problem["code"], problem["retryable"]) == ("failed", "storage_full", True)
    assert engine(desk).seen is None


def test_progress_when_reported_often_then_is_written_now_and_then_and_with_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "REPORT_SECONDS", 3600.0)
    id = desk.jobs.create(REQUEST).id
    run_job(id)

    assert (desk.jobs.get(id).progress or {})["done"] == 100
    assert desk.jobs.get(id).version == 3  # created, started, ended with the last progress


def test_job_when_cancelled_meanwhile_then_stops_where_it_reports(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "REPORT_SECONDS", 0.0)
    engine(desk).jobs = desk.jobs
    id = desk.jobs.create(REQUEST).id
    run_job(id)

    assert (desk.jobs.get(id).status, desk.jobs.get(id).result) == ("cancelled", None)
    assert (desk.jobs.get(id).progress or {})["done"] == 1


def test_job_when_it_may_not_run_then_the_engine_is_not_asked(desk: Desk) -> None:
    id = desk.jobs.create(REQUEST).id
    desk.jobs.cancel(id)
    run_job(id)
    run_job("nothing")

    assert engine(desk).seen is None


def test_job_when_the_queue_still_holds_a_lost_attempt_then_that_does_not_run(desk: Desk) -> None:
    record = desk.jobs.create(REQUEST)
    push(desk.connection, desk.jobs, record)
    lost = queue_of(desk.connection, "job").fetch_job(transport_id(record.id, 0))
    desk.jobs.requeue(record.id, desk.jobs.start(record.id, "another") or 0)
    assert isinstance(lost, SafeJob)
    lost.perform()

    assert engine(desk).seen is None
    assert (desk.jobs.get(record.id).status, desk.jobs.get(record.id).attempt) == ("queued", 1)


def test_job_when_its_request_is_broken_then_fails_as_internal(desk: Desk) -> None:
    id = desk.jobs.create({"model": "m"}).id
    run_job(id)

    assert (desk.jobs.get(id).problem or {})["code"] == "internal"


def test_job_when_its_model_is_known_then_gets_its_manifest_and_clean_archive(desk: Desk) -> None:
    inspect_model(upload(desk, b"good"))
    model = desk.models.get("m")
    id = desk.jobs.create(REQUEST, {"model": {"name": "m", "digest": model.digest}}).id
    run_job(id)

    seen = engine(desk).seen
    assert seen is not None
    assert seen.model is not None
    assert (seen.model.clean, seen.model.manifest) == (model.clean, {"layers": []})


def test_manifests_when_there_are_many_then_only_the_newest_stay_at_hand(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MOST_READY", 1)
    for data in (b"first", b"second"):
        inspect_model(upload(desk, data))
        run_job(desk.jobs.create(REQUEST, {"model": {"digest": desk.models.get("m").digest}}).id)

    assert list(desk.ready) == [desk.models.get("m").digest]


def test_model_when_it_passes_then_is_ready_and_what_waited_is_queued(desk: Desk) -> None:
    inspection = upload(desk, b"good")
    waiting = desk.jobs.create(REQUEST, waiting_for=[model_key(desk.models.get("m").digest)]).id
    inspect_model(inspection)

    assert desk.models.get("m").status == "ready"
    assert desk.inspections.get(inspection).status == "succeeded"
    assert (desk.jobs.get(waiting).status, depth(desk.connection)) == ("queued", 1)


def test_model_when_it_does_not_pass_then_is_rejected_and_what_waited_fails(desk: Desk) -> None:
    inspection = upload(desk, b"bad")
    waiting = desk.jobs.create(REQUEST, waiting_for=[model_key(desk.models.get("m").digest)]).id
    inspect_model(inspection)

    assert desk.models.get("m").status == "rejected"
    assert (desk.jobs.get(waiting).problem or {})["code"] == "bad_archive"


def test_model_when_deleted_during_its_inspection_then_nothing_is_left_waiting(desk: Desk) -> None:
    inspection = upload(desk, b"good")
    desk.models.delete("m")
    inspect_model(inspection)

    assert desk.inspections.get(inspection).ended
