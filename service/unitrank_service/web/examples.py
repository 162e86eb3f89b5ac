"""Rows of a dataset as the pages show them: an image, texts or numbers, and the label."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.class_names import named
from unitrank_service.contents.images import channels_of
from unitrank_service.contents.rows import opened
from unitrank_service.errors import HttpProblem
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.errors import BadSource, RecordNotFound
from unitrank_tables import Table
from unitrank_tables.errors import BadTable

MOST_NUMBERS = 12
"""Numbers of a row that a page shows."""


@dataclass(frozen=True)
class RowView:
    """One row. `image`: the path of its picture; None where the row is not an image."""

    row: int
    image: str | None = None
    text: str = ""
    label: str = ""


@dataclass(frozen=True)
class RowViews:
    """The rows by their numbers. `missing`: why they have no values, or an empty text."""

    views: Mapping[int, RowView]
    missing: str = ""

    def __getitem__(self, row: int) -> RowView:
        return self.views[row]


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of one dataset for a page.

    `name`: its name for the paths of pictures; None for a dataset without a name. `inputs`: the
    fields that may be shown, the first of them first. `labels`: the field of the labels, if any.
    `classes`: label → its name.
    """

    name: str | None
    digest: str
    inputs: Sequence[str]
    labels: str | None
    classes: Mapping[str, str]

    def read(self, rows: Iterable[int], datasets: DatasetStore, blobs: BlobStore) -> RowViews:
        """Return the views of these rows. Where they cannot be read, each has only its number."""
        numbers = sorted(set(rows))
        bare = {row: RowView(row) for row in numbers}
        try:
            with opened(datasets.content(self.digest), blobs) as table:
                return RowViews(dict(zip(numbers, self._views(numbers, table), strict=True)))
        except RecordNotFound:
            return RowViews(bare, "The dataset was deleted, so only the numbers of the rows are shown.")
        except (HttpProblem, BadTable, BadSource) as error:
            return RowViews(bare, f"The rows are not shown: {error.detail}.")

    def _views(self, rows: list[int], table: Table) -> list[RowView]:
        fields = [field for field in self.inputs if field in table.fields]
        image = next((field for field in fields if self.name and channels_of(table.fields[field]["shape"])), None)
        field = image or next(iter(fields), None)
        values = table.read(field, rows) if field and not image else [None] * len(rows)
        texts = [name for name, info in table.fields.items() if info == {"dtype": "str", "shape": [None]}]
        columns = {name: table.read(name, rows).tolist() for name in texts}
        labels = table.read(self.labels, rows).tolist() if self.labels in table.fields and self.labels else [None] * len(rows)
        return [
            RowView(
                row,
                self._picture(row, image) if image else None,
                "; ".join([*(f"{name}: {column[at]}" for name, column in columns.items()), *_numbers(values[at])]),
                "" if labels[at] is None else named(str(labels[at]), self.classes),
            )
            for at, row in enumerate(rows)
        ]

    def _picture(self, row: int, field: str) -> str:
        return f"/v1/datasets/{quote(f'{self.name}@{self.digest}', safe='@:')}/rows/{row}.png?field={quote(field)}"


def _numbers(values: NDArray[Any] | None) -> list[str]:
    """The first values of a row as a text; no text for None."""
    if values is None:
        return []
    flat = np.asarray(values).ravel()
    first = ", ".join(f"{value:.4g}" if flat.dtype.kind == "f" else str(value) for value in flat[:MOST_NUMBERS])
    return [f"{first}, … ({len(flat)} values)" if len(flat) > MOST_NUMBERS else first]
