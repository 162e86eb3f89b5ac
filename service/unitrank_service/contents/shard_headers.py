"""Reads the headers of a dataset's shards, which stay where they are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from unitrank_service.contents.fetching import FetchDeadline
from unitrank_store.blobs.pinned_files import pinned
from unitrank_store.blobs.sources import Source
from unitrank_tables.sharded.headers import ShardFile, ShardHeader, index_of, read_shard_header
from unitrank_tables.sharded.index import ShardIndex

THREADS = 8
"""Shards whose headers are read at the same time."""


def index_in_place(sources: Sequence[Source], deadline: FetchDeadline) -> ShardIndex | None:
    """The index of the shards; None where one of them must be copied, see `ShardHeader`.

    Raises BadSource, BadTable, and the errors of `FetchDeadline.check`.
    """

    def header(source: Source) -> ShardHeader:
        deadline.check()
        file = pinned(source)
        state = file.state()
        return read_shard_header(ShardFile(source.name, state.size, state.pin, lambda start, stop: file.read(start, stop, state)))

    with ThreadPoolExecutor(THREADS, thread_name_prefix="headers") as threads:
        try:
            return index_of(list(threads.map(header, sources)))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
