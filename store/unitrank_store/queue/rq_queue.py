"""RQ carries the work: two queues of ids, as JSON, whose jobs wait for their turn."""

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import redis
import structlog
from redis.client import Pipeline
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.queue.fair_order import Waiting, before, feed, in_line, leave, line_up
from unitrank_store.queue.safe_job import FUNCTIONS, SafeJob
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, texts

log = structlog.get_logger()

JOBS = "unitrank-jobs"
INSPECTIONS = "unitrank-inspections"
# By the record's kind.
QUEUES = {"job": JOBS, "inspection": INSPECTIONS}
TRANSPORT_TTL = 3600
# Between two looks at a queue that is none.
WRONG_SECONDS = 1.0


class FairQueue(Queue):
    """RQ's queue, whose jobs wait for their turn before they are in it."""

    waiting: Waiting

    @classmethod
    def lmove(cls, connection: redis.Redis, queue_key: str, timeout: int | None) -> tuple[str, str] | None:
        """RQ's way out of the queue: what takes from it gives the next one its turn. An id that is no text is none of ours."""
        try:
            moved = super().lmove(connection, queue_key, timeout)
        except redis.exceptions.ResponseError as error:
            # Somebody else put something else there, which the reaper takes away, or the store is full for a while: no reason
            # for a worker to end.
            log.warning("nothing taken from the queue", queue=queue_key, error=str(error))
            time.sleep(WRONG_SECONDS)
            raise DequeueTimeout(timeout, queue_key) from error
        if moved is None:
            return None
        # Where this fails the reaper does it.
        with suppress(redis.exceptions.RedisError):
            feed(connection, queue_key.removeprefix(cls.redis_queue_namespace_prefix))
        return queue_key, text(moved[1])

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
    earlier = next(iter(inspections.get_many([id])), None)
    if earlier is not None and not earlier.ended:
        return earlier
    if earlier is not None:
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
    ahead_of = {record.id: 0 for record in records if record.status in ("running", "cancelling")}
    queued = {transport_id(record.id, record.attempt): record for record in records if record.status == "queued"}
    if not queued:
        return ahead_of
    ahead = before(connection, queue, {id: waiting_of(record) for id, record in queued.items()})
    with connection.pipeline() as pipeline:
        pipeline.llen(keyspace.rq_queue(queue))
        for id in queued:
            pipeline.lpos(keyspace.rq_queue(queue), id)
        length, *places = pipeline.execute()
    for (id, record), place in zip(queued.items(), places, strict=True):
        if id in ahead:
            ahead_of[record.id] = ahead[id] + int(length)
        elif place is not None:
            ahead_of[record.id] = int(place)
    return ahead_of


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


def inspection_id(digest: str) -> str:
    """The id of a model's inspection: the hex digits of its digest."""
    return re.sub(r"^sha256:", "", digest)
