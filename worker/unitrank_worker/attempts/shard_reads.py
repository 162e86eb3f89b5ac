"""Answers the child's questions for rows of a dataset whose shards stay where they are."""

import socket
from collections.abc import Callable, Sequence

import structlog

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.shard_reader import ShardReader
from unitrank_store.errors import BadSource, ShardChanged
from unitrank_tables.sharded.ranges import MOST_AT_ONCE, ByteRange
from unitrank_worker.problem import problem
from unitrank_worker.process.channel import Message

log = structlog.get_logger()


class ShardReads:
    """Reads shards for the child of one attempt. `datasets`: digests, in the order's order."""

    def __init__(self, blobs: BlobStore, datasets: Sequence[str]) -> None:
        self._blobs = blobs
        self._datasets = datasets
        self._readers: dict[int, ShardReader] = {}

    def prepare(self, message: Message) -> Callable[[], Message]:
        """A function that reads the ranges which the child asks for, and returns the answer.

        A read can take long, so the caller runs the function in the background. The function
        raises ValueError for ranges that the dataset does not have.

        Raises ValueError, TypeError or LookupError for a malformed message.
        """
        number = message.content["read_shards"]
        digest = self._datasets[number]
        ranges = [ByteRange(*map(_checked_int, each)) for each in message.content["ranges"]]
        if sum(max(each.stop - each.start, 0) for each in ranges) > MOST_AT_ONCE:
            raise ValueError(f"the child asks for more than {MOST_AT_ONCE} bytes of shards at once")
        return lambda: self._answer(number, digest, ranges)

    def close(self) -> None:
        """Stop all reads."""
        for reader in self._readers.values():
            reader.close()

    def _answer(self, number: int, digest: str, ranges: Sequence[ByteRange]) -> Message:
        try:
            if number not in self._readers:
                self._readers[number] = self._blobs.shard_reader(digest)
            pieces = self._readers[number].read(ranges)
        except BadSource as error:
            log.error("shard not read", digest=digest, code=error.code, reason=error.detail)
            return Message({"unreadable": _problem_of(error)})
        return Message({"shard_bytes": [len(piece) for piece in pieces]}, b"".join(pieces))


def _problem_of(error: BadSource) -> Json:
    if isinstance(error, ShardChanged):
        return problem(error.code, error.detail)
    if error.code == "uri_not_found":
        return problem("dataset_changed", f"a shard of the dataset was deleted since its import: {error.detail}; import it again")
    host = socket.gethostname()
    detail = f"the worker on host {host!r} cannot read a shard of the dataset: {error.detail}"
    return problem("dataset_unreadable", detail, retryable=True)


def _checked_int(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r:.80} is not a whole number")
    return value
