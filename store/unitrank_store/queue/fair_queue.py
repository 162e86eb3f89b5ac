"""RQ's queue with fair turns, from which each worker takes its jobs."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import redis
import structlog
from redis.client import Pipeline
from rq import Queue
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.job import Job

from unitrank_store.jobs.record import JobRecord
from unitrank_store.jobs.records import record_of
from unitrank_store.queue.fair_order import Waiting, feed, line_up
from unitrank_store.queue.safe_job import SafeJob
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text

log = structlog.get_logger()

CLAIM_SECONDS = 1
"""Seconds between two looks of an idle worker at the jobs that other workers left."""
ERROR_SECONDS = 1.0
"""Seconds between two reads of a queue that could not be read."""


class Chooser(Protocol):
    """Decides for one worker which ids it takes."""

    def claim(self) -> str | None:
        """Take an id that other workers left for this one; None without one."""
        ...

    def choose(self, id: str) -> str | None:
        """Return the id to run in place of a taken id; None if the id was left for others."""
        ...


class TakenEntry(NamedTuple):
    """An id that a worker has taken.

    `entry`: the reply of HGETALL for RQ's entry, or its error.
    `record`: the record that the id belongs to; None if it was not read.
    """

    id: str
    entry: Mapping[bytes, bytes] | Exception
    record: JobRecord | None


class FairQueue(Queue):
    """RQ's queue, but its jobs first wait in the lines of `fair_order`.

    `kind`: kind of the records that the queue holds.
    `waiting`: the line of the job that is pushed next.
    `chooser`: the choice of the worker that takes ids; None takes each id in its turn.
    """

    kind: str = "job"
    waiting: Waiting
    chooser: Chooser | None = None

    @classmethod
    def dequeue_any(
        cls,
        queues: Iterable[Queue],
        timeout: int | None,
        connection: redis.Redis,
        *others: Any,
        **options: Any,
    ) -> tuple[Job, Queue] | None:
        """Take the next job from the only queue; None without a job.

        RQ calls this in place of its own method, which asks the server for its version: an ACL may
        forbid `INFO`. Any: as in RQ.
        """
        (queue,) = queues
        assert isinstance(queue, FairQueue)
        while (taken := queue.take(timeout)) is not None:
            # The job's entry has expired, or is malformed.
            with suppress(NoSuchJobError):
                job = SafeJob.of(taken.id, taken.entry, connection, queue.serializer)
                job.record = taken.record
                return job, queue
        return None

    def take(self, timeout: int | None) -> TakenEntry | None:
        """Take the next id from the queue, and let the following id have its turn.

        `timeout`: seconds to wait for an id, after which it raises DequeueTimeout; None returns
        None at once.
        """
        until = time.monotonic() + (timeout or 0)
        while True:
            if (claimed := self._claim()) is not None:
                return self._feed(claimed)
            try:
                moved = self.lmove(self.connection, self.key, timeout if self.chooser is None else timeout and CLAIM_SECONDS)
            except DequeueTimeout:
                if time.monotonic() >= until:
                    raise
                continue
            except redis.exceptions.ResponseError as error:
                # The key has a wrong type, until the reaper deletes it, or the store's memory is
                # full. Neither is a reason for a worker to end.
                log.warning("nothing taken from the queue", queue=self.key, error=str(error))
                time.sleep(ERROR_SECONDS)
                raise DequeueTimeout(timeout, self.key) from error
            if moved is None:
                return None
            id = text(moved[1])
            chosen = self._choose(id)
            taken = self._feed(chosen or id)
            if chosen is not None:
                return taken

    def _claim(self) -> str | None:
        with suppress(redis.exceptions.ResponseError):
            return self.chooser.claim() if self.chooser is not None else None
        return None

    def _choose(self, id: str) -> str | None:
        # If the choice fails, the id keeps its turn.
        with suppress(redis.exceptions.RedisError):
            return self.chooser.choose(id) if self.chooser is not None else id
        return id

    def _feed(self, taken: str) -> TakenEntry:
        """Let the following id have its turn, and read the entry and the record of the taken id.

        If `feed` fails, the reaper feeds the queue.
        """
        record_id = taken.rpartition("-")[0]
        with self.connection.pipeline(transaction=False) as pipeline:
            feed(pipeline, self.name, taken=taken)
            pipeline.hgetall(SafeJob.key_for(taken))
            pipeline.hgetall(keyspace.record(self.kind, record_id))
            _, entry, stored = pipeline.execute(raise_on_error=False)
        return TakenEntry(taken, entry, record_of(stored, record_id))

    def push_job_id(self, job_id: str, pipeline: Pipeline | None = None, at_front: bool = False) -> None:
        """Add an id to its line; with `at_front`, put it at the head of RQ's queue instead."""
        if at_front:
            super().push_job_id(job_id, pipeline, at_front)
        else:
            line_up(self.connection if pipeline is None else pipeline, self.name, self.waiting, job_id)
