"""The two RQ queues, of jobs and of inspections, through which workers get their work.

RQ's entries are only the transport: an entry holds a record's id, and the record decides whether it
runs. A *transport id* names one entry: the record's id and the number of earlier attempts.
"""

import re
from collections.abc import Iterable, Sequence

import redis
from redis.client import Pipeline
from rq.serializers import JSONSerializer

from unitrank_store.contents.models import ModelRecord
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.jobs.records import Kind
from unitrank_store.queue.fair_order import Waiting, before, feed, in_line, leave, queue_places
from unitrank_store.queue.fair_queue import FairQueue
from unitrank_store.queue.safe_job import FUNCTIONS, SafeJob
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import texts
from unitrank_store.settings import Settings

JOBS = "unitrank-jobs"
INSPECTIONS = "unitrank-inspections"
QUEUES = {"job": JOBS, "inspection": INSPECTIONS}
"""The name of the queue for each kind of record."""
TRANSPORT_TTL = 3600
"""Seconds that RQ keeps an entry whose run failed."""


def push(connection: redis.Redis, jobs: JobStore, record: JobRecord, *, front: bool = False) -> None:
    """Put a queued record in its queue. A record that is pushed twice still runs only once.

    `front`: put the record at the head of the queue, because it was already its turn.
    """
    with connection.pipeline() as pipeline:
        queue_commands(pipeline, connection, jobs.kind, record, front=front)
        pipeline.execute()


def queue_commands(pipeline: Pipeline, connection: redis.Redis, kind: Kind, record: JobRecord, *, front: bool = False) -> None:
    """Add the commands of `push` to a pipeline."""
    queue = queue_of(connection, kind)
    queue.waiting = waiting_of(record)
    job = queue.create_job(
        FUNCTIONS[kind],
        args=[record.id],
        job_id=transport_id(record.id, record.attempt),
        # No timeout of RQ: its alarm does not interrupt native code. The worker's parent process
        # enforces the record's timeout.
        timeout=-1,
        result_ttl=0,
        failure_ttl=TRANSPORT_TTL,
        description=record.id,
    )
    queue.enqueue_job(job, pipeline, at_front=front)


def enqueue_job(connection: redis.Redis, record: JobRecord) -> None:
    """Put a queued job in the queue of jobs."""
    push(connection, JobStore(connection), record)


def enqueue_inspection(connection: redis.Redis, model: ModelRecord, settings: Settings, owner: str = "") -> JobRecord:
    """Create the inspection of a model, put it in its queue, and return its record.

    If an inspection of this model is queued or running, nothing changes and its record is returned.
    `settings`: they limit the inspection's seconds, and its CPU time by the size of the upload.
    `owner`: id of the API key whose turn the inspection takes.
    """
    inspections = JobStore(connection, kind="inspection")
    id = inspection_id(model.digest)
    earlier = next(iter(inspections.get_many([id])), None)
    if earlier is not None and not earlier.ended:
        return earlier
    if earlier is not None:
        inspections.delete(id)
    limits = {"timeout": settings.inspection_timeout, "cpu_seconds": settings.inspection_cpu_seconds(model.bytes)}
    record = inspections.create({"digest": model.digest, **limits}, {"inspection": model.engine}, id=id, owner=owner)
    push(connection, inspections, record)
    return record


def withdraw(connection: redis.Redis, kind: str, record: JobRecord) -> None:
    """Remove a record from its queue.

    A record that a worker has already taken stays with that worker.
    """
    id = transport_id(record.id, record.attempt)
    with connection.pipeline() as pipeline:
        pipeline.lrem(keyspace.rq_queue(QUEUES[kind]), 0, id)
        pipeline.lrem(keyspace.for_larger(QUEUES[kind]), 0, id)
        leave(pipeline, QUEUES[kind], waiting_of(record), id)
        feed(pipeline, QUEUES[kind])
        in_queue, was_left, _, in_line, _ = pipeline.execute()
    if in_queue or was_left or in_line:
        connection.delete(SafeJob.key_for(id))


def depth(connection: redis.Redis, kind: str = "job") -> int:
    """Return the number of records that wait in the queue or in a line."""
    return len(waiting_ids(connection, kind))


def positions(connection: redis.Redis, records: Sequence[JobRecord], kind: str = "job") -> dict[str, int]:
    """Return the number of records that have their turn before each given record, by its id.

    The number is 0 for a record that is next or that runs. Records that have ended, or that are in
    no queue, are left out.
    """
    queue = QUEUES[kind]
    ahead_of = {record.id: 0 for record in records if record.status in ("running", "cancelling")}
    queued = {transport_id(record.id, record.attempt): record for record in records if record.status == "queued"}
    if not queued:
        return ahead_of
    # Without a transaction, because Redis rejects all transactions while it is full. An id can then
    # move from its line into the queue between two reads, so the lines are read first.
    with connection.pipeline(transaction=False) as pipeline:
        queue_places(pipeline, queue, lines := {id: waiting_of(record) for id, record in queued.items()})
        pipeline.llen(keyspace.rq_queue(queue))
        for id in queued:
            pipeline.lpos(keyspace.rq_queue(queue), id)
        for id in queued:
            pipeline.lpos(keyspace.for_larger(queue), id)
        replies = pipeline.execute()
    count = len(queued)
    ahead = before(connection, queue, lines, replies[: count + 1])
    length, *all_places = replies[count + 1 :]
    places = [place if place is not None else left for place, left in zip(all_places[:count], all_places[count:], strict=True)]
    for (id, record), place in zip(queued.items(), places, strict=True):
        if id in ahead:
            ahead_of[record.id] = ahead[id] + int(length)
        elif place is not None:
            ahead_of[record.id] = int(place)
    return ahead_of


def waiting_of(record: JobRecord) -> Waiting:
    """Return the line in which a record waits."""
    return Waiting(record.owner, str(record.request.get("priority", "normal")))


def queue_of(connection: redis.Redis, kind: str) -> FairQueue:
    """Return RQ's queue for the records of a kind."""
    queue = FairQueue(QUEUES[kind], connection=connection, job_class=SafeJob, serializer=JSONSerializer)
    queue.kind = kind
    return queue


def refill(connection: redis.Redis, kind: str) -> None:
    """Move the next id from its line into RQ's queue, if the queue is empty."""
    feed(connection, QUEUES[kind])


def waiting_ids(connection: redis.Redis, kind: str) -> set[str]:
    """Return the transport ids in the lines, in RQ's queue, and left for a larger worker."""
    # The lines are read first. An id that moves into the queue between two reads is then read
    # twice; in the other order it would be missed.
    waiting = {*in_line(connection, QUEUES[kind])}
    for key in (keyspace.rq_queue(QUEUES[kind]), keyspace.for_larger(QUEUES[kind])):
        waiting |= {*texts(connection.lrange(key, 0, -1))}
    return waiting


def taken_ids(connection: redis.Redis, kind: str) -> set[str]:
    """Return the transport ids that a worker has taken from the queue but has not started."""
    return set(texts(connection.lrange(queue_of(connection, kind).intermediate_queue_key, 0, -1)))


def transport_id(id: str, attempt: int) -> str:
    """Return RQ's id for the next run of a record that has had `attempt` runs.

    Each run has an id of its own: RQ may still clean up after a lost run while the next one waits.
    """
    return f"{id}-{attempt}"


def record_id(transport: str) -> str:
    """Return the id of the record that a transport id belongs to."""
    return transport.rpartition("-")[0]


def record_ids(transports: Iterable[str]) -> set[str]:
    """Return the ids of the records that the transport ids belong to."""
    return {record_id(transport) for transport in transports}


def inspection_id(digest: str) -> str:
    """Return the id of a model's inspection: the hexadecimal digits of the model's digest."""
    return re.sub(r"^sha256:", "", digest)
