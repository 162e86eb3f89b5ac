"""The parent of a job's child, as the engine sees it: it takes progress and keeps parts."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from unitrank_engine.errors import Cancelled
from unitrank_schemas.base import Json
from unitrank_tables.part import Part, decode_part, encode_part
from unitrank_worker.process.channel import Channel

REPORT_SECONDS = 0.2
"""Shortest time between two messages with progress, in seconds."""


class Reporter:
    """Sends progress to the parent a few times a second.

    Raises Cancelled if the parent sent a stop.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._next = time.monotonic() + REPORT_SECONDS
        self.last: Json | None = None

    def __call__(self, progress: Json) -> None:
        self.last = progress
        self.raise_if_stopped()
        # A stage without a total can take long, so it is reported at once.
        if progress["total"] and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPORT_SECONDS
        self._channel.send({"progress": progress})

    def raise_if_stopped(self) -> None:
        """Raises Cancelled if the parent has sent a stop."""
        message = self._channel.receive(0)
        if message is not None and "stop" in message.content:
            raise Cancelled("the parent stopped the job")


class ParentParts:
    """Parts of earlier jobs. The parent reads and writes them in the store."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        """The parts that the store has. Raises Cancelled if the parent sends a stop instead."""
        if not fingerprints:
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
            data = encode_part(part)
            if len(data) <= self._channel.payload_bytes:
                self._channel.send({"keep_part": fingerprint}, data)


@contextmanager
def span(channel: Channel, stage: str) -> Iterator[None]:
    """Send the start and the end of the stage to the parent, in unix seconds, for its trace."""
    since = time.time()
    try:
        yield
    finally:
        channel.send({"span": stage, "since": since, "until": time.time()})
