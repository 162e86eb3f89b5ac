"""The names of classes: from the job's metadata, or from a text field of its dataset."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from unitrank_schemas.base import Json
from unitrank_service.contents.rows import opened
from unitrank_service.errors import HttpProblem
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetRecord, DatasetStore
from unitrank_store.errors import BadSource, RecordNotFound
from unitrank_tables.errors import BadTable

MOST_ROWS = 100_000
"""Rows that are read to find the text of each label."""
KEPT = 64
"""Fields whose names stay in memory."""


class ClassNames:
    """Finds the names of a job's classes, and keeps those of the last 64 fields."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._of_field = lru_cache(KEPT)(self._read)

    def of(self, request: Json, digest: str, datasets: DatasetStore) -> Mapping[str, str]:
        """Return class number → name; empty without names.

        `metadata.classes` of the request is a list of names, an object with a name for each class,
        or the name of a text field of the dataset. `digest`: that of the dataset.
        """
        classes = (request.get("metadata") or {}).get("classes")
        if isinstance(classes, list):
            return {str(number): str(name) for number, name in enumerate(classes)}
        if isinstance(classes, dict):
            return {str(number): str(name) for number, name in classes.items()}
        labels = request.get("labels")
        if not isinstance(classes, str) or not isinstance(labels, str):
            return {}
        try:
            return self._of_field(digest, labels, classes, datasets)
        # Names are an addition: a page is complete without them.
        except (RecordNotFound, HttpProblem, BadTable, BadSource, KeyError):
            return {}

    def _read(self, digest: str, labels: str, field: str, datasets: DatasetStore) -> Mapping[str, str]:
        return names_of(datasets.content(digest), labels, field, self._blobs)


def names_of(record: DatasetRecord, labels: str, field: str, blobs: BlobStore) -> Mapping[str, str]:
    """Return label → the text that a field has in the first row with this label.

    Raises HttpProblem, RecordNotFound or BadTable where the rows cannot be read, and KeyError for a
    field that the dataset does not have, or that holds no texts.
    """
    with opened(record, blobs) as table:
        if table.fields[field] != {"dtype": "str", "shape": [None]}:
            raise KeyError(field)
        rows = slice(0, MOST_ROWS)
        numbers, first = np.unique(table.read(labels, rows), return_index=True)
        texts = table.read(field, rows)
    return {str(number): str(text) for number, text in zip(numbers.tolist(), texts[first].tolist(), strict=True)}


def named(name: str, classes: Mapping[str, str]) -> str:
    """The name of a cluster, or a ranking's id with its class, with the class in words.

    >>> named("3", {"3": "dog"}), named("gradient@3", {"3": "dog"}), named("all", {"3": "dog"})
    ('3 (dog)', 'gradient@3 (dog)', 'all')
    """
    text = classes.get(name.rpartition("@")[2])
    return name if text is None else f"{name} ({text})"
