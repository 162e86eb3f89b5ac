"""One run of a queued job: from its entry in the queue to the end of its attempt."""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import redis
import structlog

from unitrank_schemas.base import Json
from unitrank_schemas.problems import JobProblem
from unitrank_store.errors import Forged
from unitrank_store.jobs.record import Status
from unitrank_store.observability import tracing
from unitrank_store.observability.logs import bound
from unitrank_store.queue.safe_job import SafeJob
from unitrank_worker.attempts.attempt import Attempt, Order, Patiently, problem_of
from unitrank_worker.attempts.stores import AWAY, Stores
from unitrank_worker.process.background import BackgroundStep
from unitrank_worker.process.channel import Closed, Message
from unitrank_worker.process.handle import ChildHandle
from unitrank_worker.process.watch import KillReason, RunWatch
from unitrank_worker.tasks import start

log = structlog.get_logger()

PROBLEM_CHARACTERS = 1 << 20
"""A longer problem is malformed."""
LOOK_SECONDS = 0.15
"""Between two looks at the record of a running job."""


class Run:
    """Begins the attempt when the child is ready, and follows it by the child's messages and by looks at the record.

    `attempt` is None until the child has its order; `spoiled`: the child cannot compute any more;
    `is_ours`: the queue's entry names one of our functions and a record.
    """

    def __init__(
        self,
        job: SafeJob,
        *,
        worker: str,
        stores: Stores,
        child: ChildHandle,
        patiently: Patiently,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`worker`: the name that the record gets; `stores.jobs` reads records without waiting for the store."""
        self.job = job
        self.attempt: Attempt | None = None
        self.watch: RunWatch | None = None
        self.spoiled = False
        self.is_ours = _is_ours(job)
        self._worker = worker
        self._stores = stores
        self._child = child
        self._patiently = patiently
        self._clock = clock
        self._next_look = clock() + LOOK_SECONDS
        self._hears = False
        """Whether the child has its order and has not ended it: before and afterwards it hears no stop."""
        self._told_to_stop = False
        self._abandoned = False
        self._context = ExitStack()
        self._step: BackgroundStep[Any] | None = None
        self._then: Callable[[BackgroundStep[Any]], bool] = lambda step: True

    def advance(self, seconds: float) -> bool:
        """Wait for the child's next message or the store, at most that long, and go on; whether the run is over.

        Raises Closed for a child that is gone or sends what no child of ours does, and the store's error where the worker
        has to stop while the store is away.
        """
        if self._step is not None:
            return self._step.wait(seconds) and self._next(self._step)
        if self.attempt is None and self._child.ready:
            return not self._begin()
        message = self._child.receive(seconds)
        return message is not None and self.attempt is not None and self._take(self.attempt, message)

    def look(self) -> KillReason | None:
        """Why the child has to be killed, as the record says; None between two looks."""
        if self._clock() < self._next_look:
            return None
        self._next_look = self._clock() + LOOK_SECONDS
        try:
            watch = self.watched()
        except redis.exceptions.RedisError as error:
            log.warning("not looked at", worker=self._worker, rq_job=self.job.id, error=str(error))
            return None
        reason = watch.reason()
        if watch.unwanted and self.attempt is not None:
            self._tell_to_stop()
        return reason

    def watched(self) -> RunWatch:
        """The watch over the record; a forged entry has none to look at. Raises RedisError."""
        if self.watch is None:
            id, number = (self.job.record_id, self.job.attempt) if self.is_ours else (self.job.id, 0)
            self.watch = RunWatch(self._stores.jobs, id, number, self._worker, self._clock)
        return self.watch

    def close(self) -> None:
        """Nothing is left of the run in this process, once a step that still goes on has ended."""
        self._abandoned = True
        if self.attempt is not None:
            self.attempt.abandon()
        self._context.close()

    def _begin(self) -> bool:
        """Begin the attempt and send the child its order; False where there is nothing to wait for."""
        if not self.is_ours:
            return False
        job = self.job
        attempt = self._patiently(lambda: start(self._stores, job.record_id, worker=self._worker, number=job.attempt))
        if attempt is None:
            return False
        self.attempt = attempt
        kind = self._stores.jobs.kind
        about = bound(kind, attempt.record)
        self._context.enter_context(structlog.contextvars.bound_contextvars(attempt=attempt.record.attempt, **about))
        self._context.enter_context(tracing.job_span(kind, attempt.record, **about))
        warm = tuple(self._child.warm)
        self._do(lambda: self._ordered(attempt, warm), self._send_order)
        return True

    def _ordered(self, attempt: Attempt, warm: Collection[str]) -> Order:
        order: Order = self._patiently(lambda: attempt.order(warm))
        if self._abandoned:
            order.close()
        return order

    def _send_order(self, step: BackgroundStep[Order]) -> bool:
        """What could not be prepared fails the attempt."""
        assert self.attempt is not None
        try:
            order = step.result()
        except AWAY:
            raise
        except Exception as error:
            self._finish(self.attempt, "failed", problem_of(error))
            return False
        self._child.send(order.content, files=order.files)
        self._hears = True
        return False

    def _finish(self, attempt: Attempt, status: Status, problem: Json | None) -> None:
        """Write the end; a result may have to travel far, so the record is looked at meanwhile."""
        self._do(lambda: attempt.finish(status, problem, self._patiently), self._finished)

    def _finished(self, step: BackgroundStep[None]) -> bool:
        step.result()
        return True

    def _do(self, function: Callable[[], Any], then: Callable[[BackgroundStep[Any]], bool]) -> None:
        """Run the function beside this thread; `then` takes the finished step and says whether the run is over."""
        self._step, self._then = BackgroundStep(function), then

    def _next(self, step: BackgroundStep[Any]) -> bool:
        self._step = None
        return self._then(step)

    def _take(self, attempt: Attempt, message: Message) -> bool:
        """Do as the child's message says; whether the run is over.

        Raises Closed for a malformed one: a child that a model has taken over is not listened to.
        """
        if "end" in message.content:
            status, problem = _ending(message)
            self._hears = False
            self.spoiled = bool(message.content.get("leaving"))
            self._finish(attempt, status, problem)
            return False
        try:
            answer = attempt.take(message)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise Closed("the child sent a malformed message") from error
        if answer is not None:
            self._child.send(answer.content, answer.payload)
        if attempt.unwanted:
            self._tell_to_stop()
        return False

    def _tell_to_stop(self) -> None:
        """Tell the child once to stop: it ends the job at its next report, and keeps its models."""
        if self._hears and not self._told_to_stop:
            self._told_to_stop = True
            self._child.send({"stop": True})


def _ending(message: Message) -> tuple[Status, Json | None]:
    """The status and the problem that a child ends its attempt with. Raises Closed."""
    status, problem = message.content["end"], message.content.get("problem")
    if status not in ("succeeded", "failed", "cancelled"):
        raise Closed("the child sent a malformed end")
    if status != "failed":
        return status, None
    try:
        if len(JobProblem.model_validate(problem).model_dump_json()) > PROBLEM_CHARACTERS:
            raise ValueError(f"a problem has at most {PROBLEM_CHARACTERS} characters")
    except (ValueError, RecursionError) as error:
        raise Closed("the child sent a malformed problem") from error
    return status, problem


def _is_ours(job: SafeJob) -> bool:
    try:
        return bool(job.record_id) and job.attempt > 0
    except Forged as error:
        log.warning("forged", rq_job=job.id, error=str(error))
        return False
