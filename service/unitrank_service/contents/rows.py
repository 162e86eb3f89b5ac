"""One row of a dataset: its values as JSON, and its image."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.base import Json
from unitrank_schemas.checks import nearest
from unitrank_service.contents.images import MOST_PIXELS, Channels, channels_of, image_field
from unitrank_service.errors import HttpProblem
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetRecord
from unitrank_tables import Table
from unitrank_tables.columns import ColumnInfo
from unitrank_tables.sharded.table import ShardedTable

MOST_VALUES = 2**18
"""Values of one field that a row's JSON has. A larger field is left out."""


@dataclass(frozen=True)
class RowImage:
    """The image of a row. `channels`: which of its axes counts the colours."""

    field: str
    channels: Channels
    values: NDArray[Any]


def opened(record: DatasetRecord, blobs: BlobStore) -> Table:
    """Return the dataset's open table. Close it.

    Raises HttpProblem where the dataset is not ready, or where the service cannot read its rows.
    """
    if record.status != "ready":
        detail = f"the dataset {record.name!r} is {record.status}; its rows can be read when it is ready"
        raise HttpProblem("dataset_not_ready", detail)
    table = blobs.open_table(record.digest)
    if isinstance(table, ShardedTable) and table.is_parquet:
        table.close()
        # Decoding Parquet is native code, which only the confined processes of workers run.
        raise HttpProblem("rows_not_read", "the service does not decode Parquet files; upload the dataset as .npz or safetensors")
    return table


def row_body(record: DatasetRecord, row: int, table: Table) -> Json:
    """Return the values of a row; its schema is `unitrank_schemas.datasets.DatasetRow`.

    Raises HttpProblem for a row that the dataset does not have.
    """
    check_row(row, table)
    fields, left_out = dict[str, Any](), dict[str, str]()
    for name, info in table.fields.items():
        count = math.prod(length or 0 for length in info["shape"][1:])
        if count > MOST_VALUES:
            fields[name] = None
            left_out[name] = (
                f"the field has {count} values in each row; at most {MOST_VALUES} are sent: download the dataset's file"
            )
        else:
            fields[name] = _finite(table.read(name, [row])[0])
    field = image_field(table.fields)
    return {"dataset": record.name, "digest": record.digest, "row": row, "fields": fields, "left_out": left_out, "image": field}


def row_image(row: int, table: Table, field: str | None, channels: Channels | None = None) -> RowImage:
    """Return the image of a row: that of the named field, or of the first field with images.

    `channels`: the axis of the colours where the shape could mean both.
    Raises HttpProblem for an unknown row or field, and where the row is not an image.
    """
    check_row(row, table)
    name = field or image_field(table.fields)
    if name is None:
        detail = (
            "no field of the dataset holds images: an image has the shape [H, W], [C, H, W] or [H, W, C] with 1 or 3 channels C"
        )
        raise HttpProblem("no_image", detail)
    if name not in table.fields:
        raise HttpProblem("field_not_found", f"field {name[:100]!r} not found{nearest(name, list(table.fields))}")
    layout = _layout(name, table.fields[name], channels)
    return RowImage(name, layout, table.read(name, [row])[0])


def check_row(row: int, table: Table) -> None:
    """Raises HttpProblem for a row that the dataset does not have."""
    if not 0 <= row < table.examples:
        raise HttpProblem("row_not_found", f"row {row} not found; the dataset has the rows 0 to {table.examples - 1}")


def _layout(name: str, info: ColumnInfo, channels: Channels | None) -> Channels:
    """The axis of the colours. Raises HttpProblem where the field's rows are not images."""
    shape = [length or 0 for length in info["shape"][1:]]
    layout = channels or channels_of(info["shape"])
    colours = {"first": shape[:1], "last": shape[-1:], "none": [1]}.get(layout or "", [])
    fits = len(shape) == (2 if layout == "none" else 3) and colours[:1] in ([1], [3])
    if layout is None or not fits or info["dtype"] == "str" or math.prod(shape) > 3 * MOST_PIXELS:
        detail = (
            f"a row of field {name!r} has the type {info['dtype']} and the shape {shape}, which is not an image: "
            f"an image has the shape [H, W], [C, H, W] or [H, W, C] with 1 or 3 channels C, and at most {MOST_PIXELS} pixels"
        )
        raise HttpProblem("no_image", detail)
    return layout


def _finite(values: NDArray[Any]) -> Any:  # Any: JSON values
    """The values as JSON, with None for numbers that are not finite."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values.tolist()
    numbers = np.asarray(values, object)
    numbers[~np.isfinite(values)] = None
    return numbers.tolist()
