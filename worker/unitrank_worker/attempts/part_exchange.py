"""Answers a child's questions for parts of earlier jobs, and keeps its new parts."""

import re
import time
from collections.abc import Callable

from unitrank_store.results.part_cache import TenantPartCache
from unitrank_worker.process.channel import Message

FINGERPRINT = re.compile("[0-9a-f]{1,64}")
MOST_FINGERPRINTS = 10_000
"""Largest number of parts that a child may request in one message."""
FINGERPRINTS_AT_ONCE = 32
ANSWER_BYTES = 256 << 20
"""An answer with this many bytes of parts leaves out the other parts; the child computes them."""
SHORT_SECONDS = 0.2
"""A part that comes within this time after the start of the attempt is written after its end."""
UNWRITTEN_BYTES = 256 << 10
"""Parts are written at once if more bytes than this are unwritten."""


class PartExchange:
    """The parts of one attempt.

    A small part of a short job is written after the job's end, together with the others, so that
    no client waits for it. If the worker is lost before, the part is computed again. That takes at
    most `SHORT_SECONDS`.
    """

    def __init__(self, parts: TenantPartCache, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: returns seconds."""
        self._parts = parts
        self._clock = clock
        self._since = clock()
        self._unwritten: dict[str, bytes] = {}

    def find(self, message: Message) -> Message:
        """The parts that the child asks for, as the answer. Raises as `JobAttempt.take`."""
        self.write()
        requested = message.content["find_parts"][:MOST_FINGERPRINTS]
        fingerprints = [_checked_fingerprint(fingerprint) for fingerprint in requested]
        parts: dict[str, bytes] = {}
        for start in range(0, len(fingerprints), FINGERPRINTS_AT_ONCE):
            if sum(map(len, parts.values())) < ANSWER_BYTES:
                parts |= self._parts.get(fingerprints[start : start + FINGERPRINTS_AT_ONCE])
        sizes = [[fingerprint, len(data)] for fingerprint, data in parts.items()]
        return Message({"parts": sizes}, b"".join(parts.values()))

    def keep(self, message: Message) -> None:
        """Keep the child's part. Raises as `JobAttempt.take`."""
        self._unwritten[_checked_fingerprint(message.content["keep_part"])] = message.payload
        unwritten_bytes = sum(map(len, self._unwritten.values()))
        if unwritten_bytes > UNWRITTEN_BYTES or self._clock() - self._since > SHORT_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the parts that were kept and not written."""
        parts, self._unwritten = self._unwritten, {}
        if parts:
            self._parts.put(parts)


def _checked_fingerprint(fingerprint: object) -> str:
    """The fingerprint, which becomes part of a Redis key. Raises ValueError if it is malformed."""
    if not isinstance(fingerprint, str) or not FINGERPRINT.fullmatch(fingerprint):
        raise ValueError(f"{fingerprint!r:.80} is not a fingerprint; it must have 1 to 64 hexadecimal digits")
    return fingerprint
