"""Hands the ranges of a job's passes to nodes, and joins their results. It knows no Ray."""

import time
from collections import Counter, deque
from collections.abc import Callable

import structlog
from safetensors import SafetensorError

from unitrank_schemas.base import Json
from unitrank_tables.range_result import Arrays, RangeJoin, RangeResult
from unitrank_worker.distributed.errors import EQUAL_NODES
from unitrank_worker.distributed.nodes import Done, Kept, Nodes
from unitrank_worker.distributed.questions import Answer, question_digest
from unitrank_worker.distributed.replica import JobHead, Outcome, Step
from unitrank_worker.problem import problem

log = structlog.get_logger()

AHEAD = 4
"""Ranges for each node that may be handed out beyond the first range that is not joined."""
CRASHES_ALLOWED = 1
"""Number of crashes of the child that computes a range, before the job fails."""
LOSSES_ALLOWED = 5
"""Number of nodes that may be lost while they compute the same range, before the job fails."""
LOG_RESULTS = 32
"""The log of a job has at most this many times the bytes of the largest result of a pass."""
SHARDS_SECONDS = 0.25
"""Shortest time between two messages with the progress of a pass, in seconds."""

SMALLER = "use `execution: local`, fewer methods or fewer examples, or ask the operator to raise UNITRANK_MAX_RESULT_BYTES"


class _Pass:
    """A pass that runs. `places`: the machines that have computed its ranges.

    `row_bytes`: bytes of the arrays that follow each other, of all results so far.
    """

    def __init__(self, step: Step, ranges: int) -> None:
        self.step = step
        self.ranges = ranges
        self.join = RangeJoin(ranges)
        self.again: deque[int] = deque()
        self.next = 0
        self.done = 0
        self.row_bytes = 0
        self.crashes: Counter[int] = Counter()
        self.losses: Counter[int] = Counter()
        self.places: set[str] = set()

    def take(self, window: int) -> int | None:
        """The next range to hand out; None if none may be handed out now.

        `window`: number of ranges beyond the first one that is not joined. Results that come before
        their turn wait in memory, so their number has a limit.
        """
        if self.again:
            return self.again.popleft()
        first_missing = self.ranges - self.join.missing
        if self.next >= min(self.ranges, first_missing + window):
            return None
        self.next += 1
        return self.next - 1


class Division:
    """A job that is divided between nodes.

    `failure`: the problem of a job that has failed; None before.
    """

    def __init__(
        self,
        head: JobHead,
        nodes: Nodes,
        send: Callable[[Json, bytes], None],
        *,
        most_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send`: sends a message to the owner. `clock`: returns seconds.

        `most_bytes`: of the joined result of a pass.
        """
        self.head = head
        self.failure: Json | None = None
        self._nodes = nodes
        self._send = send
        self._clock = clock
        self._most_bytes = most_bytes
        self._answers: list[Kept] = []
        self._log_bytes = 0
        self._pass: _Pass | None = None
        self._rows = 0
        self._progress: Json | None = None
        self._sent_at = -SHARDS_SECONDS
        self._unsent = False
        self._unreadable: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether a pass runs."""
        return self._pass is not None

    def begin_pass(self, question: Json) -> None:
        """Begin the pass that the owner asks for. The answer of a failed job is its problem.

        Raises ValueError if the question is malformed.
        """
        if self.failure is not None:
            self._send({"failed": self.failure}, b"")
            return
        stage, ranges = question["pass"], question["ranges"]
        if self._pass is not None or not isinstance(stage, str) or not isinstance(ranges, int) or ranges < 1:
            raise ValueError("the owner's pass is malformed")
        self._pass = _Pass(Step(len(self._answers), question_digest(question)), ranges)
        self.hand_out()

    def note_answer(self, question: Json, content: Json, payload: bytes) -> None:
        """Note the answer that the owner got from its parent, for the replicas."""
        self._keep(Answer(question_digest(question), content, payload))

    def hand_out(self) -> None:
        """Give a range to each node that can take one, and report the progress if it is due.

        A second range follows at the next call, when the nodes have begun to compute: on a machine
        with many nodes, handing it out would take the CPU from nodes that begin.
        """
        current = self._pass
        if current is None:
            return
        if self._unsent and self._clock() - self._sent_at >= SHARDS_SECONDS:
            self._send_shards(current)
        window = AHEAD * max(2, self._nodes.count)
        for node in self._nodes.free():
            index = current.take(window)
            if index is None:
                return
            self._nodes.submit(node, self.head, current.step, index, self._answers)

    def take(self, done: Done) -> None:
        """Take the outcome of a range. Ranges of other jobs and of a failed one are ignored."""
        current = self._pass
        if current is None or done.key != self.head.key:
            return
        outcome = done.outcome
        if outcome is None:
            self._lost(current, done)
        elif outcome.kind == "computed":
            self._computed(current, done, outcome)
        elif outcome.kind == "failed":
            self.fail(outcome.details)
        elif outcome.kind == "unreadable":
            self._leave_out(current, done, str(outcome.details["reason"]))
        else:
            self._crashed(current, done.index, current.crashes, CRASHES_ALLOWED)

    def fail(self, reason: Json) -> None:
        """Send the owner that the job has failed. `reason`: the problem."""
        self._pass = None
        self.failure = reason
        self._send({"failed": reason}, b"")

    def _computed(self, current: _Pass, done: Done, outcome: Outcome) -> None:
        try:
            result = RangeResult.decode(outcome.payload)
            current.join.add(done.index, result)
        except (SafetensorError, TypeError, ValueError) as error:
            self.fail(problem("nodes_differ", f"the results of two ranges do not fit: {error}; {EQUAL_NODES}", status=500))
            return
        current.row_bytes += _bytes_of(result.rows)
        if current.row_bytes + _bytes_of(result.sums) > self._most_bytes:
            self.fail(_too_large("a pass over rows has a result", self._most_bytes))
            return
        current.done += 1
        current.places.add(done.place)
        self._rows += outcome.details["rows"]
        self._progress = outcome.details["progress"]
        self._unsent = True
        if not current.join.missing:
            self._end_pass(current)

    def _end_pass(self, current: _Pass) -> None:
        self._send_shards(current)
        payload = current.join.result().encode()
        content = {"joined": current.ranges}
        self._pass = None
        if self._keep(Answer(current.step.question, content, payload)):
            self._send(content | {"nodes": len(current.places)}, payload)

    def _keep(self, answer: Answer) -> bool:
        """Add the answer to the log. Returns False if the job has failed: its log may be full."""
        self._log_bytes += len(answer.payload)
        if self.failure is None and self._log_bytes > (most := LOG_RESULTS * self._most_bytes):
            self.fail(_too_large("the passes over rows have results", most))
        if self.failure is None:
            self._answers.append(self._nodes.keep(answer))
        return self.failure is None

    def _send_shards(self, current: _Pass) -> None:
        self._sent_at, self._unsent = self._clock(), False
        shards = {"done": current.done, "total": current.ranges}
        self._send({"shards": shards, "rows": self._rows, "progress": self._progress}, b"")

    def _lost(self, current: _Pass, done: Done) -> None:
        """Hand out the range of a lost node again."""
        log.warning("node lost", job=self.head.key, place=done.place, range=done.index)
        if done.is_first:
            self._crashed(current, done.index, current.losses, LOSSES_ALLOWED)
        else:
            current.again.append(done.index)

    def _crashed(self, current: _Pass, index: int, counts: Counter[int], allowed: int) -> None:
        counts[index] += 1
        if counts[index] > allowed:
            detail = (
                f"the process that computed range {index + 1} of {current.ranges} ended {counts[index]} times; "
                "other jobs are not affected; submit the job again, and if it fails again, send its id to the operator"
            )
            self.fail(problem("worker_lost", detail, status=500, retryable=True))
        else:
            current.again.append(index)

    def _leave_out(self, current: _Pass, done: Done, reason: str) -> None:
        """Go on without a node that cannot read the blobs; fail if no node is left."""
        self._unreadable[done.place] = reason
        self._nodes.leave_out(done.place)
        current.again.append(done.index)
        if not self._nodes.count:
            places = ", ".join(f"{place} ({reason})" for place, reason in sorted(self._unreadable.items()))
            detail = (
                f"no node of the cluster can read the model and the dataset: {places}; the operator must give "
                "every node the same UNITRANK_BLOBS, with its credentials, or the same folder UNITRANK_STATE"
            )
            self.fail(problem("node_without_blobs", detail, status=500, retryable=True))


def _bytes_of(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def _too_large(results: str, most: int) -> Json:
    return problem("result_too_large", f"{results} of more than {most} bytes; {SMALLER}")
