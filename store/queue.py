"""RQ carries the work: two queues of ids, as JSON, and jobs that can run two functions and nothing else.

RQ's own serializer unpickles what it finds, and its jobs name any function of any module: with either, whoever can
write to the store runs code in the workers. A `SafeJob` has a name of `FUNCTIONS`, plain strings as arguments, and none
of RQ's callbacks, webhooks, dependencies and retries.
"""

import importlib
import re
from collections.abc import Callable
from typing import Any

import redis
from rq import Queue, get_current_job
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.serializers import JSONSerializer

from store.errors import StoreError
from store.jobs import Jobs
from store.record import JobRecord
from store.replies import texts

JOBS = "unitrank-jobs"
INSPECTIONS = "unitrank-inspections"
# By the record's kind: the queue, and the one function that RQ calls, by name: the store never imports the worker.
QUEUES = {"job": JOBS, "inspection": INSPECTIONS}
FUNCTIONS = {"job": "worker.tasks.run_job", "inspection": "worker.tasks.inspect_model"}
TRANSPORT_TTL = 3600


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

    def restore(self, raw_data: Any) -> Any:  # as RQ declares it
        """Read what the store holds, and leave out all that would call something else."""
        result = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.retries_left = self.repeats_left = None
        return result


def push(connection: redis.Redis, jobs: Jobs, record: JobRecord, *, front: bool = False) -> None:
    """Put a queued record in its queue. Pushed twice, it still runs once: the record decides."""
    queue = queue_of(connection, jobs.kind)
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


def enqueue_job(connection: redis.Redis, record: JobRecord, *, front: bool = False) -> None:
    """Put a queued job in the queue, before all others where `front`."""
    push(connection, Jobs(connection), record, front=front)


def enqueue_inspection(connection: redis.Redis, digest: str, timeout: int) -> JobRecord:
    """Have a model inspected within so many seconds; one that is being inspected is left alone."""
    inspections = Jobs(connection, kind="inspection")
    id = inspection_id(digest)
    known = inspections.get_many([id])
    if known and not known[0].ended:
        return known[0]
    if known:
        inspections.delete(id)
    record = inspections.create({"digest": digest, "timeout": timeout}, id=id)
    push(connection, inspections, record)
    return record


def withdraw(connection: redis.Redis, kind: str, record: JobRecord) -> None:
    """Take a record out of its queue, if it is there."""
    id = transport_id(record.id, record.attempt)
    connection.lrem(queue_of(connection, kind).key, 0, id)
    connection.delete(SafeJob.key_for(id))


def depth(connection: redis.Redis, kind: str = "job") -> int:
    """How many wait in the queue."""
    return int(connection.llen(queue_of(connection, kind).key))


def position(connection: redis.Redis, record: JobRecord, kind: str = "job") -> int | None:
    """How many are before this one: 0 where it is next or runs, None where it has ended or is in no queue."""
    if record.status in ("running", "cancelling"):
        return 0
    found = connection.lpos(queue_of(connection, kind).key, transport_id(record.id, record.attempt))
    return int(found) if isinstance(found, int) else None


def queue_of(connection: redis.Redis, kind: str) -> Queue:
    """RQ's queue of the records of that kind."""
    return Queue(QUEUES[kind], connection=connection, job_class=SafeJob, serializer=JSONSerializer)


def waiting_ids(connection: redis.Redis, kind: str) -> set[str]:
    """RQ's ids of all that wait in the queue."""
    return set(texts(connection.lrange(queue_of(connection, kind).key, 0, -1)))


def taken_ids(connection: redis.Redis, kind: str) -> set[str]:
    """RQ's ids of what a worker has taken out of the queue and not begun with."""
    return set(texts(connection.lrange(queue_of(connection, kind).intermediate_queue_key, 0, -1)))


def transport_id(id: str, attempt: int) -> str:
    """RQ's id: another one for each run, so that what RQ still does about a lost run does not touch the next."""
    return f"{id}-{attempt}"


def current_attempt() -> int | None:
    """The number of the run that the queue has called for; None outside of one."""
    job = get_current_job()
    return job.attempt if isinstance(job, SafeJob) else None


def inspection_id(digest: str) -> str:
    """The id of a model's inspection: the hex digits of its digest."""
    return re.sub(r"^sha256:", "", digest)
