"""A free worker prefers a warm model, and leaves models that are too large to larger workers."""

import random
from collections.abc import Sequence
from typing import cast

import pytest
import redis
from rq.exceptions import DequeueTimeout

from unitrank_store.contents.models import ModelRecord
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.queue.exchange import LOOKED_AT
from unitrank_store.queue.fair_order import PRIORITIES
from unitrank_store.queue.fair_queue import FairQueue
from unitrank_store.queue.rq_queue import (
    enqueue_job,
    positions,
    push,
    queue_of,
    record_id,
    refill,
    taken_ids,
    waiting_ids,
    withdraw,
)
from unitrank_store.recovery.corrupt_keys import delete_corrupt_keys
from unitrank_store.redis import keyspace
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_worker.attempts.device_memory import DeviceMemory
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.process.job_choice import JobChoice

TENANT = "default"
LARGE = 1_000_000
SMALL_MEMORY, LARGE_MEMORY = 4_700_000, 4_800_000
"""Bytes below and at the need of the large model: 4 bytes for each parameter, and a fifth."""


class Models:
    """The models of a worker's stores: `L` is large, all others are small."""

    def __init__(self, memory: DeviceMemory) -> None:
        self.memory = memory

    def model(self, digest: str) -> ModelRecord:
        parameters = LARGE if digest == "L" else 1
        return ModelRecord(digest, digest, 0, "ready", 0.0, "1", manifest={"parameters": parameters})


class Worker:
    """Takes jobs from the real queue. It keeps the models of its last jobs warm."""

    def __init__(self, connection: redis.Redis, models: int = 1, warm: Sequence[str] = (), memory: int = 0) -> None:
        self.queue: FairQueue = queue_of(connection, "job")
        registry = WorkerRegistry(connection)
        stores = cast(Stores, Models(DeviceMemory(registry, self.queue.name, memory)))
        self.queue.chooser = JobChoice(self.queue, stores, registry, self._has_warm)
        self.warm = list(warm)
        self._models = models

    def _has_warm(self, tenant: str, digest: str) -> bool:
        return tenant == TENANT and digest in self.warm

    def take(self, jobs: dict[str, JobRecord]) -> JobRecord | None:
        """Run the next job; None without a job."""
        taken = self.queue.take(None)
        if taken is None:
            return None
        record = jobs[record_id(taken.id)]
        digest = record.resolved["model"]["digest"]
        self.warm = [*(each for each in self.warm if each != digest), digest][-self._models :]
        return record


def wait(connection: redis.Redis, *models: str, owner: str = "", priority: str = "normal") -> dict[str, JobRecord]:
    """Put a job on each model into the queue. Returns the records by their ids, in this order."""
    store = JobStore(connection)
    records = [store.create({"priority": priority}, {"model": {"digest": model}}, owner=owner) for model in models]
    for record in records:
        enqueue_job(connection, record)
    return {record.id: record for record in records}


def register(connection: redis.Redis, workers: int, memory: int = 0) -> None:
    """Let the registry have this number of live workers."""
    name = queue_of(connection, "job").name
    for number in range(workers):
        entry = WorkerEntry(f"worker-{number}", name, "cpu", 1, "here", 0.0, 0.0, device_memory=memory)
        WorkerRegistry(connection).beat(entry)


def models_of(records: Sequence[JobRecord | None]) -> str:
    return "".join(record.resolved["model"]["digest"] if record else "-" for record in records)


def test_choice_when_the_model_in_turn_is_cold_then_a_warm_one_goes_first(connection: redis.Redis) -> None:
    jobs = wait(connection, *"ABAB")
    worker = Worker(connection, warm="B")

    assert models_of([worker.take(jobs) for _ in range(5)]) == "BAAB-"


def test_choice_when_a_job_was_overtaken_then_it_is_the_next(connection: redis.Redis) -> None:
    jobs = wait(connection, *"ABBB")
    worker = Worker(connection, warm="B")

    assert models_of([worker.take(jobs) for _ in range(2)]) == "BA"


def test_choice_when_a_job_before_the_warm_one_was_overtaken_then_the_order_is_unchanged(connection: redis.Redis) -> None:
    jobs = wait(connection, *"ACBB")
    worker = Worker(connection, warm="B")
    assert models_of([worker.take(jobs)]) == "B"

    # C was overtaken together with A.
    assert models_of([Worker(connection, warm="A").take(jobs), worker.take(jobs), worker.take(jobs)]) == "ACB"


@pytest.mark.parametrize(("workers", "owners", "order"), [(1, 1, "BABBB"), (3, 1, "BBBAB"), (4, 2, "BBABB")])
def test_choice_when_workers_share_the_owners_then_as_many_jobs_overtake_as_run_in_one_jobs_time(
    connection: redis.Redis, workers: int, owners: int, order: str
) -> None:
    register(connection, workers)
    others = {id: record for owner in range(1, owners) for id, record in wait(connection, *"BBBBBB", owner=f"o{owner}").items()}
    jobs = wait(connection, *"ABBBB", owner="o0")
    worker = Worker(connection, warm="B", models=2)
    taken = [Worker(connection, warm="B").take(jobs | others) for _ in range(len(order) * owners)]

    assert models_of([record for record in taken if record and record.owner == "o0"]) == order
    assert worker.take(jobs | others) is None or owners > 1


def test_choice_when_the_worker_is_new_then_the_order_is_unchanged(connection: redis.Redis) -> None:
    jobs = wait(connection, *"ABAB")

    assert models_of([Worker(connection).take(jobs) for _ in range(4)]) == "ABAB"


def test_choice_when_another_tenant_has_the_model_warm_then_the_order_is_unchanged(connection: redis.Redis) -> None:
    jobs = wait(connection, *"AB")
    connection.hset(keyspace.record("job", list(jobs)[1]), "tenant", "other")

    assert models_of([Worker(connection, warm="B").take(jobs)]) == "A"


def test_choice_when_the_warm_job_is_far_behind_then_the_order_is_unchanged(connection: redis.Redis) -> None:
    jobs = wait(connection, *"A" * (LOOKED_AT + 1), "B")

    assert models_of([Worker(connection, warm="B").take(jobs)]) == "A"


def test_choice_when_the_warm_job_has_another_owner_or_priority_then_the_order_is_unchanged(connection: redis.Redis) -> None:
    jobs = wait(connection, "A", owner="a") | wait(connection, "B", owner="b") | wait(connection, "B", owner="a", priority="low")

    assert models_of([Worker(connection, warm="B").take(jobs)]) == "A"


def test_choice_when_the_last_turn_is_not_text_then_the_order_is_unchanged(connection: redis.Redis) -> None:
    jobs = wait(connection, *"AB")
    connection.hset(keyspace.last_turn(queue_of(connection, "job").name), mapping={"id": b"\xff", "line": b"\xff"})

    assert models_of([Worker(connection, warm="B").take(jobs)]) == "A"


@pytest.mark.parametrize("parameters", ["many", None, [1], 1e400])
def test_large_model_when_its_manifest_is_malformed_then_the_worker_takes_its_job(
    connection: redis.Redis, parameters: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = wait(connection, "L")
    monkeypatch.setattr("tests.worker.process.test_job_choice.LARGE", parameters)

    assert models_of([Worker(connection, memory=1).take(jobs)]) == "L"


def test_choice_when_a_job_was_put_at_the_front_then_it_runs(connection: redis.Redis) -> None:
    jobs = wait(connection, *"BB")
    front = JobStore(connection).create({}, {"model": {"digest": "A"}})
    push(connection, JobStore(connection), front, front=True)

    assert models_of([Worker(connection, warm="B").take(jobs | {front.id: front})]) == "A"


def test_choice_when_records_are_malformed_or_missing_then_the_order_is_unchanged(connection: redis.Redis) -> None:
    jobs = wait(connection, *"AAB")
    first, second, _ = jobs
    connection.delete(keyspace.record("job", first))
    connection.hset(keyspace.record("job", second), "resolved", "[")

    assert models_of([Worker(connection, warm="B").take(jobs)]) == "A"


def test_choice_when_an_overtaken_job_is_cancelled_then_nothing_of_it_is_left(connection: redis.Redis) -> None:
    jobs = wait(connection, *"AB")
    overtaken, _ = jobs.values()
    worker = Worker(connection, warm="B")
    assert models_of([worker.take(jobs)]) == "B"
    withdraw(connection, "job", overtaken)

    assert worker.take(jobs) is None
    assert waiting_ids(connection, "job") == set()
    assert not connection.exists(keyspace.overtaken(worker.queue.name))


def test_choice_when_it_exchanges_then_only_the_other_job_counts_as_taken(connection: redis.Redis) -> None:
    jobs = wait(connection, *"AB")
    overtaken, other = jobs
    Worker(connection, warm="B").take(jobs)

    assert taken_ids(connection, "job") == {f"{other}-0"}
    assert waiting_ids(connection, "job") == {f"{overtaken}-0"}


def test_choice_when_its_key_has_a_wrong_type_then_jobs_run_in_their_order_after_a_sweep(connection: redis.Redis) -> None:
    jobs = wait(connection, *"AB")
    connection.set(keyspace.overtaken(queue_of(connection, "job").name), "x")
    first = Worker(connection, warm="B").take(jobs)
    delete_corrupt_keys(connection)
    refill(connection, "job")

    assert models_of([first, Worker(connection).take(jobs)]) == "AB"


@pytest.mark.parametrize("seed", range(6))
def test_choice_when_many_jobs_wait_then_turns_are_unchanged_and_few_jobs_overtake(connection: redis.Redis, seed: int) -> None:
    generator = random.Random(seed)
    most = generator.choice([1, 2, 4])
    places = [(f"owner{generator.randrange(3)}", generator.choice(PRIORITIES), generator.choice("ABC")) for _ in range(30)]

    def run(workers: Sequence[Worker]) -> list[JobRecord]:
        connection.flushdb()
        register(connection, most)
        order = random.Random(seed)
        jobs: dict[str, JobRecord] = {}
        taken: list[JobRecord | None] = []
        for owner, priority, model in places:
            jobs |= wait(connection, model, owner=owner, priority=priority)
            if order.random() < 0.2:
                taken.append(order.choice(workers).take(jobs))
        taken += [order.choice(workers).take(jobs) for _ in range(len(places) - len(taken))]
        assert sorted(record.id for record in taken if record) == sorted(jobs)
        return [record for record in taken if record]

    plain = run([Worker(connection, models=0)])
    chosen = run([Worker(connection, models=1) for _ in range(2)])

    assert [_line(record) for record in chosen] == [_line(record) for record in plain]
    for line in {_line(record) for record in chosen}:
        ids = [record.id for record in chosen if _line(record) == line]
        # Ids sort by their creation.
        assert all(sum(later > id for later in ids[:place]) <= most for place, id in enumerate(ids))
    assert not connection.exists(keyspace.overtaken(queue_of(connection, "job").name))


def _line(record: JobRecord) -> tuple[str, str]:
    return record.owner, str(record.request["priority"])


def test_choice_when_two_workers_share_two_models_then_most_jobs_find_their_model_warm(connection: redis.Redis) -> None:
    generator = random.Random(0)
    models = [generator.choice("AB") for _ in range(80)]

    def warm_share(workers: Sequence[Worker]) -> float:
        jobs, warm = wait(connection, *models), 0
        for number in range(len(models)):
            worker = workers[number % 2]
            before = list(worker.warm)
            record = worker.take(jobs)
            assert record is not None
            warm += record.resolved["model"]["digest"] in before
        return warm / len(models)

    register(connection, 2)
    with_choice, without = ([Worker(connection) for _ in range(2)] for _ in range(2))
    for worker in without:
        worker.queue.chooser = None

    assert warm_share(with_choice) > 0.75
    assert warm_share(without) < 0.6


def test_large_model_when_another_worker_has_the_memory_then_is_left_for_that_worker(connection: redis.Redis) -> None:
    register(connection, 1, memory=LARGE_MEMORY)
    jobs = wait(connection, *"LA")
    left = next(iter(jobs.values()))
    small, large = (Worker(connection, memory=memory) for memory in (SMALL_MEMORY, LARGE_MEMORY))

    assert models_of([small.take(jobs), small.take(jobs)]) == "A-"
    assert waiting_ids(connection, "job") == {f"{left.id}-0"}
    assert positions(connection, [left]) == {left.id: 0}
    # A job that was left goes before the jobs in the line.
    jobs |= wait(connection, "A")
    assert models_of([large.take(jobs), large.take(jobs)]) == "LA"
    assert taken_ids(connection, "job") >= {f"{left.id}-0"}
    assert not connection.exists(keyspace.for_larger(small.queue.name))


def test_large_model_when_no_worker_has_the_memory_then_the_next_worker_takes_it(connection: redis.Redis) -> None:
    register(connection, 1, memory=SMALL_MEMORY)
    jobs = wait(connection, *"LA")

    assert models_of([Worker(connection, memory=SMALL_MEMORY).take(jobs)]) == "L"


def test_large_model_when_the_larger_worker_dies_then_the_next_worker_takes_it(connection: redis.Redis) -> None:
    register(connection, 1, memory=LARGE_MEMORY)
    jobs = wait(connection, *"LA")
    small = Worker(connection, memory=SMALL_MEMORY)
    assert models_of([small.take(jobs)]) == "A"
    WorkerRegistry(connection).leave("worker-0")

    assert models_of([small.take(jobs)]) == "L"


def test_large_model_when_it_was_left_and_is_cancelled_then_nothing_of_it_is_left(connection: redis.Redis) -> None:
    register(connection, 1, memory=LARGE_MEMORY)
    jobs = wait(connection, *"L")
    assert Worker(connection, memory=SMALL_MEMORY).take(jobs) is None
    withdraw(connection, "job", *jobs.values())

    assert Worker(connection, memory=LARGE_MEMORY).take(jobs) is None
    assert waiting_ids(connection, "job") == set()


def test_large_model_when_it_was_left_and_its_model_was_deleted_then_the_next_worker_takes_it(connection: redis.Redis) -> None:
    register(connection, 1, memory=LARGE_MEMORY)
    jobs = wait(connection, *"L")
    small = Worker(connection, memory=SMALL_MEMORY)
    assert small.take(jobs) is None
    connection.delete(*(keyspace.record("job", id) for id in jobs))

    assert models_of([small.take(jobs)]) == "L"


def test_idle_worker_when_a_job_is_left_for_it_then_takes_it_within_the_time_of_a_look(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(connection, 1, memory=LARGE_MEMORY)
    jobs = wait(connection, *"L")
    small, large = (Worker(connection, memory=memory) for memory in (SMALL_MEMORY, LARGE_MEMORY))

    def no_id_for_a_second(*arguments: object) -> None:
        # While the idle worker waits, the other worker leaves a job.
        monkeypatch.undo()
        assert small.take(jobs) is None
        raise DequeueTimeout(1, "queue")

    monkeypatch.setattr(large.queue, "lmove", no_id_for_a_second)
    taken = large.queue.take(60)

    assert taken is not None
    assert taken.id == f"{next(iter(jobs))}-0"
