"""The parent of a job's child, as the engine sees it: it takes progress, keeps parts and
reads shards."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from unitrank_engine.errors import Cancelled, EngineError
from unitrank_schemas.base import Json
from unitrank_tables.part import Part, decode_part, encode_part
from unitrank_tables.sharded.ranges import MOST_AT_ONCE, ByteRange, requests
from unitrank_worker.process.channel import Channel, Message

REPORT_SECONDS = 0.2
"""Shortest time between two messages with progress, in seconds."""
MOST_RANGES = 50_000
"""Largest number of ranges of shards in one message."""


class Reporter:
    """Sends progress to the parent a few times a second.

    Raises Cancelled if the parent sent a stop.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._next = time.monotonic() + REPORT_SECONDS
        self.last: Json | None = None

    def __call__(self, progress: Json) -> None:
        self.raise_if_stopped()
        self.pass_on(progress)

    def pass_on(self, progress: Json) -> None:
        """Send the progress if it is time, and read no message of the parent."""
        self.last = progress
        # A stage without a total can take long, so it is reported at once.
        if progress["total"] and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPORT_SECONDS
        self._channel.send({"progress": progress})

    def raise_if_stopped(self) -> None:
        """Read one message, and raise Cancelled if it is a stop. Other messages are late."""
        message = self._channel.receive(0)
        if message is not None and "stop" in message.content:
            raise Cancelled("the parent stopped the job")


class ParentParts:
    """Parts of earlier jobs. The parent reads and writes them in the store."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.fresh = False
        """True for a job that uses no earlier part: the parent would answer without one."""

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        """The parts that the store has. Raises Cancelled if the parent sends a stop instead."""
        if not fingerprints or self.fresh:
            return {}
        self._channel.send({"find_parts": list(fingerprints)})
        while (answer := self._channel.receive()) is None or "parts" not in answer.content:
            if answer is not None and "stop" in answer.content:
                raise Cancelled("the parent stopped the job")
        parts: dict[str, Part] = {}
        start = 0
        for fingerprint, size in answer.content["parts"]:
            part = decode_part(answer.payload[start : start + size])
            start += size
            if part is not None:
                parts[fingerprint] = part
        return parts

    def put(self, parts: Mapping[str, Part]) -> None:
        """Send parts to the parent, which keeps them for later jobs."""
        for fingerprint, part in parts.items():
            if sum(array.nbytes for array in part.arrays.values()) > self._channel.payload_bytes:
                continue
            data = encode_part(part)
            if len(data) <= self._channel.payload_bytes:
                self._channel.hold({"keep_part": fingerprint}, data)


class ParentShards:
    """A `RangeReader` that asks the parent, because the child opens no file and no socket.

    `number`: the dataset's position in the order. The child decodes the bytes.
    """

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel = channel
        self._number = number

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """The bytes of each range. A long range is read in parts.

        Raises EngineError with the problem that the parent has, and Cancelled.
        """
        parts = [_parts(each) for each in ranges]
        pieces = self._pieces([part for each in parts for part in each])
        return [b"".join(next(pieces) for _ in each) if len(each) != 1 else next(pieces) for each in parts]

    def close(self) -> None:
        """Do nothing: the parent closes the files at the end of the job."""

    def _pieces(self, ranges: Sequence[ByteRange]) -> Iterator[bytes]:
        for request in requests(ranges):
            for first in range(0, len(request), MOST_RANGES):
                self._channel.send({"read_shards": self._number, "ranges": request[first : first + MOST_RANGES]})
                answer = self._answer()
                start = 0
                for size in answer.content["shard_bytes"]:
                    yield answer.payload[start : start + size]
                    start += size

    def _answer(self) -> Message:
        while (answer := self._channel.receive()) is None or "shard_bytes" not in answer.content:
            if answer is not None and "stop" in answer.content:
                raise Cancelled("the parent stopped the job")
            if answer is not None and "unreadable" in answer.content:
                problem: Json = answer.content["unreadable"]
                raise EngineError(problem["code"], problem["detail"], retryable=problem["retryable"])
        return answer


@contextmanager
def span(channel: Channel, stage: str) -> Iterator[None]:
    """Send the start and the end of the stage to the parent, in unix seconds, for its trace."""
    since = time.time()
    try:
        yield
    finally:
        channel.send({"span": stage, "since": since, "until": time.time()})


def _parts(each: ByteRange) -> list[ByteRange]:
    starts = range(each.start, each.stop, MOST_AT_ONCE)
    return [ByteRange(each.shard, start, min(start + MOST_AT_ONCE, each.stop)) for start in starts]
