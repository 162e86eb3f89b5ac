"""The distinct values of labels and cluster fields, read once for each content: what checks need beyond the header."""

from functools import lru_cache

from unitrank_schemas.facts.facts import MOST_CLUSTERS, Value
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_tables import open_table

MOST_ROWS = 2_000_000
"""Above it the values are left to the worker, so that a POST stays a matter of milliseconds."""


class DistinctValues:
    """Remembers what it has read of the last 256 fields."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.distinct = lru_cache(256)(self._distinct)

    def _distinct(self, digest: str, examples: int, field: str) -> list[Value] | None:
        """As `Table.distinct`; None where reading the values is too expensive."""
        if examples > MOST_ROWS:
            return None
        with open_table(self._blobs.path(digest)) as table:
            return table.distinct(field, MOST_CLUSTERS + 1)
