"""A run of a queued job: from its entry in the queue to the end of its attempt."""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_store.errors import Forged
from unitrank_store.full import wait_reason
from unitrank_store.jobs.record import Status
from unitrank_store.observability import tracing
from unitrank_store.observability.logs import bound
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.attempts.attempt import Attempt, Order, Retry, problem_of
from unitrank_worker.attempts.child_messages import ending_of
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.children.handle import ChildHandle
from unitrank_worker.children.pool import ChildPool
from unitrank_worker.distributed.cluster import Decision, DividedJob, DriverProcess
from unitrank_worker.process.background import BackgroundStep
from unitrank_worker.process.channel import Closed, Message
from unitrank_worker.process.watch import KillReason, RunWatch
from unitrank_worker.tasks import start, tenant_of

log = structlog.get_logger()

LOOK_SECONDS = 0.15
"""Seconds between two reads of a running job's record."""


class Run:
    """Starts an attempt when the child is ready, handles the child's messages and reads the record.

    `child`: the child of the record's tenant; None until the record was read.
    `attempt`: None until the attempt starts. `spoiled`: the child cannot run further jobs.
    `child_works`: True from the order to the child's last message. Only then it handles a stop.
    `is_genuine`: whether Unitrank wrote the queue's entry; the entry then names a record.
    """

    def __init__(
        self,
        job: SafeJob,
        *,
        worker: str,
        stores: Stores,
        children: ChildPool,
        retry: Retry,
        driver: DriverProcess | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`worker`: name of the worker for the record. `clock`: returns seconds.

        `driver`: divides jobs between the nodes of a Ray cluster; None without one.

        `stores.jobs` must read over a connection that does not wait for the store.
        """
        self.job = job
        self.child: ChildHandle | None = None
        self.attempt: Attempt | None = None
        self.watch: RunWatch | None = None
        self.spoiled = False
        self.is_genuine = _is_genuine(job)
        self._worker = worker
        self._stores = stores
        self._children = children
        self._retry = retry
        self._driver = driver
        self._divided: DividedJob | None = None
        self._held_order: Order | None = None
        """The order of a job that the driver may divide, until the driver has decided."""
        self._clock = clock
        self._next_look = clock() + LOOK_SECONDS
        self.child_works = False
        self._stop_sent = False
        self._abandoned = False
        self._context = ExitStack()
        self._step: BackgroundStep[Any] | None = None
        self._then: Callable[[BackgroundStep[Any]], bool] = lambda step: True

    def advance(self, seconds: float) -> bool:
        """Wait at most `seconds` for the child or the store, and handle the event.

        Returns whether the run is over.

        Raises Closed if the child has ended or sent a malformed message. Raises the store's error
        if the worker must stop while the store cannot serve.
        """
        if self._step is not None:
            return self._step.wait(seconds) and self._next(self._step)
        if self.child is None:
            return not self._choose_child()
        if self.attempt is None and self.child.ready:
            return not self._begin(self.child)
        if self._held_order is not None and self._divided is not None and self.attempt is not None:
            if not self.child.alive:
                raise Closed("the child ended while its job waited for nodes")
            decision = self._divided.decision(seconds)
            return decision is not None and self._decided(self.attempt, self.child, self._held_order, decision)
        message = self.child.receive(seconds) if self._divided is None else self._divided.receive(self.child, seconds)
        return message is not None and self.attempt is not None and self._take(self.attempt, self.child, message)

    def look(self) -> KillReason | None:
        """Why the child must be killed, from the record.

        None if the child may go on, or if the record was just read.
        """
        if not self.looks_due:
            return None
        self._next_look = self._clock() + LOOK_SECONDS
        try:
            watch = self.watched()
        except redis.exceptions.RedisError as error:
            log.warning("record not read", worker=self._worker, rq_job=self.job.id, error=str(error))
            return None
        reason = watch.reason()
        if watch.unwanted and self.attempt is not None:
            self._send_stop()
        return reason

    @property
    def waits_for_nodes(self) -> bool:
        """Whether the driver has not decided yet, so that the child has no order."""
        return self._held_order is not None

    @property
    def looks_due(self) -> bool:
        """Whether it is time to read the record again, `LOOK_SECONDS` after the last time."""
        return self._clock() >= self._next_look

    def watched(self) -> RunWatch:
        """The watch over the record. A forged entry has no record. Raises RedisError."""
        if self.watch is None:
            id, number = (self.job.record_id, self.job.attempt) if self.is_genuine else (self.job.id, 0)
            self.watch = RunWatch(self._stores.jobs, id, number, self._worker, self._clock, self._cpu_seconds)
        return self.watch

    def close(self) -> None:
        """Release the run's files, log context and span.

        A step in the background closes its files later.
        """
        self._abandoned = True
        if self._held_order is not None:
            self._held_order.close()
        if self._divided is not None:
            self._divided.end()
        if self.attempt is not None:
            self.attempt.abandon()
        self._context.close()

    def _cpu_seconds(self) -> float:
        """Seconds of CPU time that the child has used so far; 0 before there is a child."""
        return self.child.cpu_seconds() if self.child is not None else 0.0

    def _choose_child(self) -> bool:
        """Take the child of the record's tenant. Returns False if there is nothing to run."""
        if not self.is_genuine:
            return False
        tenant = self._retry(lambda: tenant_of(self._stores, self.job.record_id, self._worker, self.job.record))
        if tenant is None:
            return False
        self.child = self._children.child_of(tenant)
        return True

    def _begin(self, child: ChildHandle) -> bool:
        """Start the attempt and prepare the child's order.

        Returns False if there is nothing to run.
        """
        job = self.job
        attempt = self._retry(lambda: start(self._stores, job.record_id, worker=self._worker, number=job.attempt))
        if attempt is None:
            return False
        self.attempt = attempt
        kind = self._stores.jobs.kind
        about = bound(kind, attempt.record)
        self._context.enter_context(structlog.contextvars.bound_contextvars(attempt=attempt.record.attempt, **about))
        self._context.enter_context(tracing.job_span(kind, attempt.record, **about))
        warm = tuple(child.warm)
        self._do(lambda: self._ordered(attempt, warm), lambda step: self._send_order(attempt, child, step))
        return True

    def _ordered(self, attempt: Attempt, warm: Collection[str]) -> Order:
        order: Order = self._retry(lambda: attempt.order(warm))
        if self._abandoned:
            order.close()
        return order

    def _send_order(self, attempt: Attempt, child: ChildHandle, step: BackgroundStep[Order]) -> bool:
        """Send the prepared order to the child. The attempt fails if preparing it failed."""
        try:
            order = step.result()
        except Exception as error:
            if wait_reason(error):
                raise
            return self._finish(attempt, "failed", problem_of(error))
        if order.head is not None and self._driver is not None:
            self._held_order, self._divided = order, DividedJob(self._driver, order.head)
            return False
        self._give(attempt, child, order, {})
        return False

    def _decided(self, attempt: Attempt, child: ChildHandle, order: Order, decision: Decision) -> bool:
        """Give the child its order as the owner, or as the only process of the job.

        Returns whether the run is over.
        """
        self._held_order = None
        if decision.problem is None:
            self._give(attempt, child, order, {"role": "owner"})
            return False
        self._divided = None
        if order.must_divide:
            order.close()
            return self._finish(attempt, "failed", decision.problem)
        detail = f"the job ran in one process: {decision.problem['detail']}"
        self._give(attempt, child, order, {"warnings": [{"code": decision.problem["code"], "detail": detail}]})
        return False

    def _give(self, attempt: Attempt, child: ChildHandle, order: Order, role: Json) -> None:
        child.send(order.content | role, files=order.files)
        if (clean := order.content.get("resolved", {}).get("clean")) is not None:
            child.note_model(str(attempt.record.resolved["model"]["digest"]), str(clean))
        self.child_works = True
        # The order is sent first, so that it does not wait for the start of a process.
        self._children.start_spare()

    def _finish(self, attempt: Attempt, status: Status, problem: Json | None) -> bool:
        """Write the end; in the background if it can take long. Returns whether the run is over."""
        if attempt.ends_quickly:
            attempt.finish(status, problem, self._retry)
            return True
        self._do(lambda: attempt.finish(status, problem, self._retry), self._finished)
        return False

    def _finished(self, step: BackgroundStep[None]) -> bool:
        step.result()
        return True

    def _do(self, function: Callable[[], Any], then: Callable[[BackgroundStep[Any]], bool]) -> None:
        """Run the function in the background.

        `then` gets the finished step, and returns whether the run is over.
        """
        self._step, self._then = BackgroundStep(function), then

    def _next(self, step: BackgroundStep[Any]) -> bool:
        self._step = None
        return self._then(step)

    def _take(self, attempt: Attempt, child: ChildHandle, message: Message) -> bool:
        """Handle a message of the child. Returns whether the run is over.

        Raises Closed for a malformed message: the code of a model may control the child.
        """
        if "end" in message.content:
            status, problem = ending_of(message)
            self.child_works = False
            self.spoiled = bool(message.content.get("leaving"))
            return self._finish(attempt, status, problem)
        try:
            answer = attempt.take(message)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise Closed("the child sent a malformed message") from error
        if callable(answer):
            self._do(answer, lambda step: self._send_answer(child, step))
        elif answer is not None:
            child.send(answer.content, answer.payload)
            if self._divided is not None:
                self._divided.note(message, answer)
        if attempt.unwanted:
            self._send_stop()
        return False

    def _send_answer(self, child: ChildHandle, step: BackgroundStep[Message]) -> bool:
        try:
            answer = step.result()
        except ValueError as error:
            raise Closed("the child sent a malformed message") from error
        child.send(answer.content, answer.payload)
        return False

    def _send_stop(self) -> None:
        """Send the child one stop: it ends the job at its next report, and keeps its models."""
        if self.child is not None and self.child_works and not self._stop_sent:
            self._stop_sent = True
            self.child.send({"stop": True})


def _is_genuine(job: SafeJob) -> bool:
    """Whether the entry is one that Unitrank writes."""
    try:
        return bool(job.record_id) and job.attempt > 0
    except Forged as error:
        log.warning("forged queue entry", rq_job=job.id, error=str(error))
        return False
