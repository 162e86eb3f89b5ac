"""Leads the child of a replica to a range of rows, with the answers of the job's log."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import BinaryIO, Literal, NamedTuple

from safetensors import SafetensorError

from unitrank_schemas.base import Json
from unitrank_tables.range_result import RangeResult
from unitrank_worker.attempts.child_messages import checked_progress, checked_rows, ending_of
from unitrank_worker.attempts.shard_reads import ShardReads
from unitrank_worker.children.handle import ChildHandle
from unitrank_worker.distributed.errors import Differs, ReplicaEnded, Stopped
from unitrank_worker.distributed.questions import Answer, is_question, question_digest
from unitrank_worker.process.channel import Closed, Message

POLL_SECONDS = 0.1
"""Maximum seconds that a replica waits for its child before it looks for a stop."""
SHOWN_CHARACTERS = 200
"""Characters of a replica's question in an error."""
STOP_SECONDS = 0.25
"""Seconds after which a child that does not end its job after a stop is killed."""


@dataclass(frozen=True)
class JobHead:
    """A job that is divided, as its nodes get it.

    `key`: names the attempt. `tenant`: the tenant whose child computes. `content`: the order's
    message. `datasets`, `model`: digests of the blobs that a node opens.
    """

    key: str
    tenant: str
    content: Json
    datasets: Sequence[str] = ()
    model: str | None = None

    def to_json(self) -> Json:
        """The job as the JSON object of a message."""
        return asdict(self)


class Step(NamedTuple):
    """A place in a job: its question number `number`, and the question's digest."""

    number: int
    question: str


Kind = Literal["computed", "failed", "crashed", "stopped", "unreadable"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a range on a node.

    `computed`: `payload` is the range's result, `details` has `rows` and `progress`.
    `failed`: `details` is the problem of the job. `crashed`: the child has ended.
    `stopped`: the job was stopped. `unreadable`: the node could not read a blob, and
    `details["reason"]` says why.
    """

    kind: Kind
    payload: bytes = b""
    details: Json = field(default_factory=dict)


class Replica:
    """One job in one child, which asks the same questions as the owner."""

    def __init__(self, head: JobHead, child: ChildHandle, is_stopped: Callable[[], bool], shards: ShardReads) -> None:
        """`child`: it must be ready. `is_stopped`: whether the job was stopped meanwhile.

        `shards`: reads the shards of the datasets, where they stay in their files.
        """
        self.key = head.key
        self.child = child
        self._head = head
        self._is_stopped = is_stopped
        self.shards = shards
        self._answered = 0
        self._question: str | None = None
        self._asked = ""

    def begin(self, files: Sequence[BinaryIO], digests: Sequence[Json]) -> None:
        """Send the child its order. The files are closed. Raises Closed."""
        content = self._head.content | {"role": "replica", "digests": digests}
        self.child.send(content, files=files)

    def compute(self, step: Step, index: int, answer: Callable[[int], Answer]) -> Outcome:
        """Compute the range with this index of the pass at `step`.

        `answer`: returns the answer to an earlier question.
        Raises Closed if the child ends, Differs, ReplicaEnded and Stopped.
        """
        self._advance(step, answer)
        self.child.send({"range": index})
        while (message := self._received()).content.get("ranged") != index:
            if is_question(message.content):
                raise Differs("a replica left a pass before its last range")
        return _computed(message)

    def stop(self, clock: Callable[[], float] = time.monotonic) -> bool:
        """End the job in the child. Returns whether the child can run further jobs.

        Raises Closed.
        """
        self.child.send({"stop": True})
        deadline = clock() + STOP_SECONDS
        while (left := deadline - clock()) > 0:
            message = self.child.receive(left)
            if message is not None and "end" in message.content:
                return not message.content.get("leaving")
        return False

    def _advance(self, step: Step, answer: Callable[[int], Answer]) -> None:
        """Answer the child's questions until it asks the one at `step`."""
        while self._answered < step.number:
            given = answer(self._answered)
            self._await_question(given.question)
            self.child.send(given.content, given.payload)
            self._answered, self._question = self._answered + 1, None
        self._await_question(step.question)

    def _await_question(self, question: str) -> None:
        while self._question is None:
            message = self._received()
            if is_question(message.content):
                self._question, self._asked = question_digest(message.content), str(message.content)[:SHOWN_CHARACTERS]
        if self._question != question:
            raise Differs(f"question {self._answered + 1} of a replica is not the owner's question: {self._asked}")

    def _received(self) -> Message:
        while True:
            if self._is_stopped():
                raise Stopped
            message = self.child.receive(POLL_SECONDS)
            if message is None:
                continue
            if "end" in message.content:
                raise ReplicaEnded(ending_of(message)[1], leaves=bool(message.content.get("leaving")))
            if "read_shards" in message.content:
                answer = _read(self.shards, message)
                self.child.send(answer.content, answer.payload)
                continue
            return message


def _read(shards: ShardReads, message: Message) -> Message:
    """The rows that the child asks for. Raises Closed if its message is malformed."""
    try:
        return shards.prepare(message)()
    except (LookupError, TypeError, ValueError) as error:
        raise Closed("the child sent a malformed message") from error


def _computed(message: Message) -> Outcome:
    """The outcome in the message.

    Raises Closed if it is malformed: a model may control the child.
    """
    try:
        RangeResult.decode(message.payload)
        progress = message.content["progress"]
        checked = None if progress is None else checked_progress(progress)
        return Outcome("computed", message.payload, {"rows": checked_rows(message.content["rows"]), "progress": checked})
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Closed("the child sent a malformed result of a range") from error


class StopFlags:
    """The jobs that were stopped, which another thread notes while a replica computes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, None] = {}

    def add(self, key: str, most: int = 1000) -> None:
        """Note that a job was stopped. `most`: number of jobs that are remembered."""
        with self._lock:
            self._keys[key] = None
            while len(self._keys) > most:
                del self._keys[next(iter(self._keys))]

    def __contains__(self, key: str) -> bool:
        return key in self._keys
