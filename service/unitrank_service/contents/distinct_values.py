"""The values of labels, cluster fields and marked rows, which the checks of a request need."""

from functools import lru_cache

from unitrank_schemas.facts.facts import MOST_CLUSTERS, Value
from unitrank_store.blobs.blob_store import BlobStore

MOST_ROWS = 2_000_000
"""The worker checks the values of a larger dataset, so that a POST takes milliseconds."""


class DistinctValues:
    """Reads the distinct values of a field, and caches those of the last 256 fields.

    So it does with the number of rows in which a boolean field is true.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.distinct = lru_cache(256)(self._distinct)
        self.true_rows = lru_cache(256)(self._true_rows)

    def _distinct(self, digest: str, examples: int, field: str) -> list[Value] | None:
        """As `Table.distinct`; None if the dataset has more than `MOST_ROWS` rows."""
        if examples > MOST_ROWS:
            return None
        with self._blobs.open_table(digest) as table:
            return table.distinct(field, MOST_CLUSTERS + 1)

    def _true_rows(self, digest: str, examples: int, field: str) -> int | None:
        """As in `Facts`; None if the dataset has more than `MOST_ROWS` rows."""
        if examples > MOST_ROWS:
            return None
        with self._blobs.open_table(digest) as table:
            return int(table.read(field, slice(None)).sum())
