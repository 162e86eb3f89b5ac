"""The distinct values of labels and cluster fields, read once for each content: what checks need beyond the header."""

from functools import lru_cache

import numpy as np

from api_schemas.checks.facts import MOST_CLUSTERS, Value
from store.blobs import Blobs
from store.tables import Table, open_table

MOST_ROWS = 2_000_000
"""Above it the values are left to the worker, so that a POST stays a matter of milliseconds."""


class Values:
    """Remembers what it has read of the last 256 fields."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self.distinct = lru_cache(256)(self._distinct)

    def _distinct(self, digest: str, examples: int, field: str) -> list[Value] | None:
        """As `distinct`; None where reading them is too dear."""
        if examples > MOST_ROWS:
            return None
        with open_table(self._blobs.path(digest)) as table:
            return distinct(table, field)


def distinct(table: Table, field: str) -> list[Value] | None:
    """The distinct values of a field with one axis, in order, at most one more than there may be clusters."""
    if len(table.fields[field]["shape"]) != 1:
        return None
    found: list[Value] = np.unique(table.read(field, slice(None)))[: MOST_CLUSTERS + 1].tolist()
    return found
