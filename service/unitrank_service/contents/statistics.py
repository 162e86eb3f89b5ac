"""Statistics of a dataset's fields: the balance of its classes, ranges and histograms."""

import math
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.base import Json
from unitrank_service.contents.rows import opened
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetRecord
from unitrank_tables import Table

MOST_ROWS = 1_000_000
"""Rows of a field with one value for each row that are read."""
MOST_VALUES = 2**20
"""Values of any other field that are read."""
MOST_DISTINCT = 200
BINS = 20
KEPT = 64
"""Datasets whose statistics stay in memory."""


class Statistics:
    """Computes the statistics of a dataset at the first request, and keeps those of the last 64.

    One dataset is read at a time, so that many requests do not fill the memory.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = Lock()
        self._of_digest = lru_cache(KEPT)(self._read)
        self._record: DatasetRecord | None = None

    def of(self, record: DatasetRecord) -> Json:
        """Return the statistics; their schema is `unitrank_schemas.datasets.DatasetStatistics`.

        Raises HttpProblem where the dataset's rows cannot be read.
        """
        with self._lock:
            self._record = record
            fields = self._of_digest(record.digest)
        return {"dataset": record.name, "digest": record.digest, "examples": record.examples, "fields": fields}

    def _read(self, digest: str) -> Mapping[str, Json]:
        assert self._record is not None
        with opened(self._record, self._blobs) as table:
            return {name: field_statistics(table, name) for name in table.fields}


def field_statistics(table: Table, name: str) -> Json:
    """Return the statistics of one field, from rows that are spread evenly over the table."""
    shape = table.fields[name]["shape"][1:]
    width = math.prod(length or 0 for length in shape)
    most = MOST_VALUES // width if width else MOST_ROWS
    count = min(table.examples, MOST_ROWS if not shape else max(1, most))
    rows = np.unique(np.linspace(0, table.examples - 1, count).round().astype(np.int64)) if count else np.zeros(0, np.int64)
    values = table.read(name, slice(None) if len(rows) == table.examples else rows)
    return {"rows": len(rows), **(_numbers(values) if values.dtype.kind != "U" else {}), "values": _values(values)}


def _numbers(values: NDArray[Any]) -> Json:
    numbers = values.astype(np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    about: Json = {"not_finite": len(numbers) - len(finite)}
    if not len(finite):
        return about
    low, high = float(finite.min()), float(finite.max())
    about |= {"low": low, "high": high, "mean": float(finite.mean())}
    if math.isfinite(high - low):
        counts, edges = np.histogram(finite, _bins(values, low, high))
        about["histogram"] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return about


def _bins(values: NDArray[Any], low: float, high: float) -> Any:  # Any: a number of bins, or their edges
    """The edges of the bins. A few whole numbers have one bin each, so that none is empty."""
    if values.dtype.kind in "iub" and high - low < BINS:
        return np.arange(low, high + 2) - 0.5
    return BINS


def _values(values: NDArray[Any]) -> list[Json] | None:
    """The distinct values with their numbers of rows; None for a field with too many."""
    if values.ndim != 1 or not len(values):
        return None
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) > MOST_DISTINCT or (distinct.dtype.kind == "f" and not np.isfinite(distinct).all()):
        return None
    return [{"value": value, "rows": rows} for value, rows in zip(distinct.tolist(), counts.tolist(), strict=True)]
