"""The names of classes: from the job's metadata, or from a text field of its dataset."""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

import numpy as np

from unitrank_schemas.base import Json
from unitrank_schemas.class_names import given_names
from unitrank_service.contents.rows import opened
from unitrank_service.errors import HttpProblem
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.errors import BadSource, RecordNotFound
from unitrank_store.jobs.record import JobRecord
from unitrank_tables import Table
from unitrank_tables.errors import BadTable

MOST_ROWS = 100_000
"""Rows that are read to find the text of each label."""
MOST_CLASSES = 10_000
MOST_CHARACTERS = 200
"""Characters after which a name from a dataset is cut."""
KEPT = 64
"""Fields whose names stay in memory."""
FIELDS = ("{}_name", "class")
"""Text fields that name the classes by default; `{}` is the field with the labels. The client
writes the first for a `ClassLabel` of Hugging Face, and `class` for a folder of images."""


class ClassNames:
    """Finds the names of a job's classes, and keeps those of the last 64 fields."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._of_field = lru_cache(KEPT)(self._read)

    def of(self, request: Json, digest: str, datasets: DatasetStore) -> Mapping[str, str]:
        """Return class number → name; empty without names.

        `metadata.classes` of the request is a list of names, an object with a name for each class,
        or the name of a text field of the dataset. Without it, the fields in `FIELDS` are tried.
        `digest`: that of the dataset.
        """
        classes = (request.get("metadata") or {}).get("classes")
        if isinstance(classes, list | dict):
            return given_names(classes)
        labels = request.get("labels")
        if not isinstance(classes, str | None) or not isinstance(labels, str):
            return {}
        return self.of_dataset(digest, labels, classes, datasets)

    def of_job(self, record: JobRecord, datasets: DatasetStore) -> Mapping[str, str]:
        """Return the names of the classes of a job that has a result."""
        return self.of(record.request, record.resolved["dataset"]["digest"], datasets)

    def of_dataset(self, digest: str, labels: str, field: str | None, datasets: DatasetStore) -> Mapping[str, str]:
        """Return label → name, from a text field of the dataset; None: the fields in `FIELDS`."""
        try:
            return self._of_field(digest, labels, field, datasets)
        # Names are an addition: a page is complete without them.
        except (RecordNotFound, HttpProblem, BadTable, BadSource, KeyError):
            return {}

    def _read(self, digest: str, labels: str, field: str | None, datasets: DatasetStore) -> Mapping[str, str]:
        with opened(datasets.content(digest), self._blobs) as table:
            if field is not None:
                return names_of(table, labels, field)
            for candidate in FIELDS:
                with suppress(KeyError):
                    if names := names_of(table, labels, candidate.format(labels), unique=True):
                        return names
            return {}


def names_of(table: Table, labels: str, field: str, *, unique: bool = False) -> Mapping[str, str]:
    """Return label → the text that a field has in the first row with this label.

    `unique`: return no names if two rows of one label have different texts.
    Raises BadTable where the rows cannot be read, and KeyError for fields that the dataset does not
    have, that hold no texts or no labels, or with more than 10 000 labels.
    """
    if table.fields[field] != {"dtype": "str", "shape": [None]} or table.fields[labels]["shape"] != [None]:
        raise KeyError(field)
    rows = slice(0, MOST_ROWS)
    numbers, first, place = np.unique(table.read(labels, rows), return_index=True, return_inverse=True)
    if len(numbers) > MOST_CLASSES:
        raise KeyError(labels)
    texts = table.read(field, rows)
    if unique and (texts != texts[first][place]).any():
        return {}
    return {str(number): str(text)[:MOST_CHARACTERS] for number, text in zip(numbers.tolist(), texts[first].tolist(), strict=True)}
