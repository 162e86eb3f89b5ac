"""RQ carries the work: two queues of ids, as JSON, and jobs that can run two functions and nothing else.

RQ's own serializer unpickles what it finds, and its jobs name any function of any module: with either, whoever can
write to the store runs code in the workers. A `SafeJob` has a name of `FUNCTIONS`, plain strings as arguments, and none
of RQ's callbacks, webhooks, dependencies and retries.
"""

import importlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import redis
import structlog
from redis.client import Pipeline
from rq import Queue, get_current_job
from rq.exceptions import DequeueTimeout, DeserializationError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from unitrank_store.errors import StoreError
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.queue.fair_order import Waiting, before, feed, in_line, leave, line_up
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, texts

log = structlog.get_logger()

JOBS = "unitrank-jobs"
INSPECTIONS = "unitrank-inspections"
# By the record's kind: the queue, and the one function that RQ calls, by name: the store never imports the worker.
QUEUES = {"job": JOBS, "inspection": INSPECTIONS}
FUNCTIONS = {"job": "unitrank_worker.tasks.run_job", "inspection": "unitrank_worker.tasks.inspect_model"}
TRANSPORT_TTL = 3600
# Between two looks at a queue that is none.
WRONG_SECONDS = 1.0


class Forged(StoreError):
    """The queue holds what no `push` wrote."""


class SafeJob(Job):
    """RQ's job, restricted to the functions above with one id as argument."""

    @property
    def func(self) -> Callable[[str], None]:
        """Raises Forged."""
        _ = self.record_id
        module, _, function = str(self.func_name).rpartition(".")
        found: Callable[[str], None] = getattr(importlib.import_module(module), function)
        return found

    @property
    def record_id(self) -> str:
        """The one argument. Raises Forged."""
        try:
            name, instance, arguments, keywords = self.func_name, self.instance, self.args, self.kwargs
        except DeserializationError as error:
            raise Forged("the queue holds what is not JSON") from error
        if name not in FUNCTIONS.values() or instance is not None or keywords:
            raise Forged(f"the queue asked for {name!r}, which is no function of ours")
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise Forged(f"{name} takes one id, the queue gave {len(arguments)} arguments")
        return arguments[0]

    @property
    def attempt(self) -> int:
        """The number that the record's run has, or will have once it starts. Raises Forged."""
        before = self.id.removeprefix(f"{self.record_id}-")
        if not before.isdecimal():
            raise Forged(f"the queue holds a run of {self.record_id} under the id {self.id!r}, which no `push` gave it")
        return int(before) + 1

    @classmethod
    def fetch(cls, id: str, connection: redis.Redis | None = None, serializer: Any = None) -> "SafeJob":  # Any: as RQ declares it
        """RQ's. Raises NoSuchJobError for what no `push` wrote, too: who finds that in the queue goes on with the next."""
        try:
            return cast("SafeJob", super().fetch(id, connection=connection, serializer=serializer))
        except (NoSuchJobError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as error:
            # RQ decodes, unpacks and reads times: whatever somebody else wrote there, a worker must not stop at it.
            raise NoSuchJobError(f"what the queue holds as {id[:64]!r} is no job") from error

    def restore(self, raw_data: Any) -> Any:  # as RQ declares it
        """Read what the store holds, and leave out all that would call something else."""
        result = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.retries_left = self.repeats_left = None
        return result


class FairQueue(Queue):
    """RQ's queue, whose jobs wait for their turn before they are in it."""

    waiting: Waiting

    @classmethod
    def lmove(cls, connection: redis.Redis, queue_key: str, timeout: int | None) -> tuple[str, str] | None:
        """RQ's way out of the queue: what takes from it gives the next one its turn. An id that is no text is none of ours."""
        try:
            found = super().lmove(connection, queue_key, timeout)
        except redis.exceptions.ResponseError as error:
            # Somebody else put something else there, which the reaper takes away, or the store is full for a while: no reason
            # for a worker to end.
            log.warning("nothing taken from the queue", queue=queue_key, error=str(error))
            time.sleep(WRONG_SECONDS)
            raise DequeueTimeout(timeout, queue_key) from error
        if found is None:
            return None
        # Where this fails the reaper does it.
        with suppress(redis.exceptions.RedisError):
            feed(connection, queue_key.removeprefix(cls.redis_queue_namespace_prefix))
        return queue_key, text(found[1])

    def push_job_id(self, job_id: str, pipeline: Pipeline | None = None, at_front: bool = False) -> None:
        """At the front, for what has had its turn: in RQ's queue at once."""
        if at_front:
            super().push_job_id(job_id, pipeline, at_front)
        else:
            line_up(self.connection if pipeline is None else pipeline, self.name, self.waiting, job_id)


def push(connection: redis.Redis, jobs: JobStore, record: JobRecord, *, front: bool = False) -> None:
    """Have a queued record wait for its turn; `front`: it had it. Pushed twice, it still runs once: the record decides."""
    queue = queue_of(connection, jobs.kind)
    queue.waiting = waiting_of(record)
    job = queue.create_job(
        FUNCTIONS[jobs.kind],
        args=[record.id],
        job_id=transport_id(record.id, record.attempt),
        # The worker's parent watches the time; RQ's alarm would not reach native code.
        timeout=-1,
        result_ttl=0,
        failure_ttl=TRANSPORT_TTL,
        description=record.id,
    )
    queue.enqueue_job(job, at_front=front)


def enqueue_job(connection: redis.Redis, record: JobRecord) -> None:
    """Have a queued job wait for its turn."""
    push(connection, JobStore(connection), record)


def enqueue_inspection(connection: redis.Redis, digest: str, timeout: int, owner: str = "") -> JobRecord:
    """Have a model inspected within so many seconds, in the turn of the key that put it; one that is inspected is left alone."""
    inspections = JobStore(connection, kind="inspection")
    id = inspection_id(digest)
    known = inspections.get_many([id])
    if known and not known[0].ended:
        return known[0]
    if known:
        inspections.delete(id)
    record = inspections.create({"digest": digest, "timeout": timeout}, id=id, owner=owner)
    push(connection, inspections, record)
    return record


def withdraw(connection: redis.Redis, kind: str, record: JobRecord) -> None:
    """Take a record out of its queue, if it is there; what a worker has taken out is left to that."""
    id = transport_id(record.id, record.attempt)
    with connection.pipeline() as pipeline:
        pipeline.lrem(keyspace.rq_queue(QUEUES[kind]), 0, id)
        leave(pipeline, QUEUES[kind], waiting_of(record), id)
        feed(pipeline, QUEUES[kind])
        in_queue, in_line, _ = pipeline.execute()
    if in_queue or in_line:
        connection.delete(SafeJob.key_for(id))


def depth(connection: redis.Redis, kind: str = "job") -> int:
    """How many wait."""
    return len(waiting_ids(connection, kind))


def positions(connection: redis.Redis, records: Sequence[JobRecord], kind: str = "job") -> dict[str, int]:
    """By id, how many have their turn before it: 0 where it is next or runs; without what has ended or waits for no turn."""
    queue = QUEUES[kind]
    found = {record.id: 0 for record in records if record.status in ("running", "cancelling")}
    queued = {transport_id(record.id, record.attempt): record for record in records if record.status == "queued"}
    if not queued:
        return found
    ahead = before(connection, queue, {id: waiting_of(record) for id, record in queued.items()})
    with connection.pipeline() as pipeline:
        pipeline.llen(keyspace.rq_queue(queue))
        for id in queued:
            pipeline.lpos(keyspace.rq_queue(queue), id)
        length, *places = pipeline.execute()
    for (id, record), place in zip(queued.items(), places, strict=True):
        if id in ahead:
            found[record.id] = ahead[id] + int(length)
        elif place is not None:
            found[record.id] = int(place)
    return found


def waiting_of(record: JobRecord) -> Waiting:
    """Whose turn it has to wait for."""
    return Waiting(record.owner, str(record.request.get("priority", "normal")))


def queue_of(connection: redis.Redis, kind: str) -> FairQueue:
    """RQ's queue of the records of that kind."""
    return FairQueue(QUEUES[kind], connection=connection, job_class=SafeJob, serializer=JSONSerializer)


def refill(connection: redis.Redis, kind: str) -> None:
    """Something was taken out of the queue: the next one has its turn."""
    feed(connection, QUEUES[kind])


def waiting_ids(connection: redis.Redis, kind: str) -> set[str]:
    """RQ's ids of all that wait, for their turn or in the queue."""
    # The lines first: what moves on meanwhile is then met twice and not missed.
    return {*in_line(connection, QUEUES[kind]), *texts(connection.lrange(keyspace.rq_queue(QUEUES[kind]), 0, -1))}


def taken_ids(connection: redis.Redis, kind: str) -> set[str]:
    """RQ's ids of what a worker has taken out of the queue and not begun with."""
    return set(texts(connection.lrange(queue_of(connection, kind).intermediate_queue_key, 0, -1)))


def transport_id(id: str, attempt: int) -> str:
    """RQ's id: another one for each run, so that what RQ still does about a lost run does not touch the next."""
    return f"{id}-{attempt}"


def record_ids(transports: Iterable[str]) -> set[str]:
    """Whose runs RQ's ids stand for."""
    return {transport.rpartition("-")[0] for transport in transports}


def current_attempt() -> int | None:
    """The number of the run that the queue has called for; None outside of one."""
    job = get_current_job()
    return job.attempt if isinstance(job, SafeJob) else None


def inspection_id(digest: str) -> str:
    """The id of a model's inspection: the hex digits of its digest."""
    return re.sub(r"^sha256:", "", digest)
