"""A run of a queued job: the record is read while archives and results take long."""

import threading
import weakref
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis
from rq.serializers import JSONSerializer
from safetensors.numpy import save

from tests.support.clock import Clock
from tests.support.polling import wait_until
from tests.worker.test_tasks import PROGRESS, REQUEST, at_once, contents, stores_of
from unitrank_schemas.base import Json
from unitrank_store.queue.rq_queue import enqueue_job, transport_id
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.attempts.job_attempt import QUICK_BYTES
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.children.pool import ChildPool
from unitrank_worker.process.background import BackgroundStep
from unitrank_worker.process.channel import Message
from unitrank_worker.process.run import Run
from unitrank_worker.process.watch import CANCEL_SECONDS

MOMENT = 0.01


class StubChild:
    """A child that is ready; the test puts its messages into `outbox` and reads `inbox`.

    It is also the pool of children, with only this child.
    """

    ready = True

    def __init__(self) -> None:
        self.tenants: list[str] = []
        self.warm: dict[str, str] = {}
        self.inbox: list[Json] = []
        self.outbox: list[Message] = []

    def child_of(self, tenant: str) -> "StubChild":
        self.tenants.append(tenant)
        return self

    def start_spare(self) -> None:
        self.tenants.append("spare")

    def cpu_seconds(self) -> float:
        return 0.0

    def note_model(self, upload: str, clean: str) -> None:
        pass

    def send(self, content: Json, payload: bytes = b"", files: Any = ()) -> None:
        self.inbox.append(content)
        for file in files:
            file.close()

    def receive(self, seconds: float) -> Message | None:
        return self.outbox.pop(0) if self.outbox else None


class Bed:
    """A run of a queued job on a real store, with a clock that the test moves."""

    def __init__(self, connection: redis.Redis, folder: Path) -> None:
        self.clock = Clock()
        self.child = StubChild()
        self.stores: Stores = stores_of(connection, folder, "job")
        record = self.stores.jobs.create(REQUEST, contents(self.stores))
        self.id = record.id
        enqueue_job(connection, record)
        job = SafeJob.fetch(transport_id(record.id, 0), connection=connection, serializer=JSONSerializer)
        self.run = Run(
            job,
            worker="w",
            stores=self.stores,
            children=cast(ChildPool, self.child),
            retry=at_once,
            clock=self.clock,
        )

    def until(self, condition: Any) -> None:
        """Advance the run until it is so; the run must not be over before."""
        for _ in range(2000):
            if condition():
                return
            assert not self.run.advance(MOMENT)
        raise AssertionError("it never was so")

    def over(self) -> None:
        """Advance the run to its end."""
        assert any(self.run.advance(MOMENT) for _ in range(2000))


@pytest.fixture
def bed(connection: redis.Redis, tmp_path: Path) -> Bed:
    return Bed(connection, tmp_path)


def test_job_when_cancelled_while_its_archive_is_fetched_then_the_look_sees_that(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    go, fetch = threading.Event(), bed.stores.blobs.path

    def slow(digest: str) -> Path:
        go.wait(30)
        return fetch(digest)

    monkeypatch.setattr(bed.stores.blobs, "path", slow)
    bed.until(lambda: bed.run.attempt is not None)
    bed.stores.jobs.cancel(bed.id)
    assert not bed.run.advance(MOMENT)
    bed.clock.advance(1)
    assert bed.run.look() is None
    bed.clock.advance(CANCEL_SECONDS + 1)

    assert bed.run.look() == "cancelled"
    assert bed.child.inbox == []
    bed.run.close()
    go.set()
    step = bed.run._step
    assert step is not None
    assert step.wait(10)
    assert all(file.closed for file in step.result().files)


def test_job_when_cancelled_before_its_order_is_sent_then_the_child_gets_the_stop_after_it(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, fetch = threading.Event(), bed.stores.blobs.path

    def slow(digest: str) -> Path:
        go.wait(30)
        return fetch(digest)

    monkeypatch.setattr(bed.stores.blobs, "path", slow)
    bed.until(lambda: bed.run.attempt is not None)
    bed.stores.jobs.cancel(bed.id)
    bed.clock.advance(1)
    bed.run.look()
    assert bed.child.tenants == ["default"]
    go.set()
    bed.until(lambda: bed.child.inbox)
    bed.clock.advance(0.2)
    bed.run.look()

    assert [next(iter(content)) for content in bed.child.inbox] == ["run", "stop"]
    assert bed.child.tenants == ["default", "spare"]
    bed.child.outbox.append(Message({"end": "cancelled", "problem": None, "leaving": False}))
    bed.over()
    assert bed.stores.jobs.get(bed.id).status == "cancelled"


def test_job_when_its_worker_stops_while_the_result_is_stored_then_a_late_end_changes_nothing(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, stored, put = threading.Event(), threading.Event(), bed.stores.results.put_encoded

    def slow(*arguments: Any) -> Any:
        go.wait(30)
        location = put(*arguments)
        stored.set()
        return location

    monkeypatch.setattr(bed.stores.results, "put_encoded", slow)
    bed.until(lambda: bed.child.inbox)
    result = {"result": {"cost": {}, "rankings": []}, "progress": PROGRESS, "seconds": 1.0}
    arrays = save({"x": np.zeros(QUICK_BYTES, np.uint8)})
    bed.child.outbox += [Message(result, arrays), Message({"end": "succeeded", "problem": None, "leaving": False})]
    for _ in range(5):
        assert not bed.run.advance(MOMENT)
    bed.stores.jobs.requeue(bed.id, 1, lost=False)
    go.set()
    bed.over()

    assert stored.is_set()
    assert bed.stores.jobs.get(bed.id).status == "queued"
    assert bed.stores.results.unpublished() == []


def test_job_when_its_result_is_small_then_the_childs_end_ends_the_record_at_once(bed: Bed) -> None:
    bed.until(lambda: bed.child.inbox)
    result = {"result": {"cost": {}, "rankings": []}, "progress": PROGRESS, "seconds": 1.0}
    bed.child.outbox += [Message(result, save({})), Message({"end": "succeeded", "problem": None, "leaving": False})]

    assert [bed.run.advance(MOMENT) for _ in range(2)] == [False, True]
    assert bed.stores.jobs.get(bed.id).status == "succeeded"


def test_job_when_its_summary_is_large_then_its_end_is_written_in_the_background(bed: Bed) -> None:
    bed.until(lambda: bed.child.inbox)
    result = {"result": {"cost": {}, "rankings": [], "text": "x" * QUICK_BYTES}, "progress": PROGRESS, "seconds": 1.0}
    bed.child.outbox += [Message(result, save({})), Message({"end": "succeeded", "problem": None, "leaving": False})]

    assert [bed.run.advance(MOMENT) for _ in range(2)] == [False, False]
    bed.over()
    assert bed.stores.jobs.get(bed.id).status == "succeeded"


def test_step_when_it_returns_or_raises_then_the_caller_gets_that() -> None:
    request: ContextVar[str] = ContextVar("request")
    request.set("r")
    step, failing = BackgroundStep(request.get), BackgroundStep(lambda: [][0])
    assert step.wait(10)
    assert failing.wait(10)

    assert step.result() == "r"
    with pytest.raises(IndexError):
        failing.result()


def test_step_when_another_has_returned_then_runs_in_the_same_thread_and_keeps_nothing_of_it() -> None:
    class Large:
        pass

    first: BackgroundStep[object] | None = BackgroundStep(Large)
    assert first is not None
    assert first.wait(10)
    result = weakref.ref(first.result())
    first = None
    second = BackgroundStep(threading.get_ident)
    assert second.wait(10)
    third = BackgroundStep(threading.get_ident)
    assert third.wait(10)

    assert second.result() == third.result()
    wait_until(lambda: result() is None, "the first result is freed")
