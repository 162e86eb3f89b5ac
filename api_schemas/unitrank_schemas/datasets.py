"""Datasets: named tables with one row per example in every field."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from unitrank_schemas.base import Digest, Name, Schema
from unitrank_schemas.models import Shape
from unitrank_schemas.problems import JobProblem

DatasetStatus = Literal["importing", "ready", "rejected"]


class FieldInfo(Schema):
    """One field of a dataset. The first axis of `shape` counts the rows; its size is null."""

    dtype: str = Field(examples=["uint8", "float32", "str"])
    shape: Shape = Field(examples=[[None, 1, 28, 28]])


class Dataset(Schema):
    """A dataset. `examples` and `fields` are null until it is ready."""

    name: Name
    digest: Digest | None = Field(description="Null for a dataset that was given by URI, until it has been read.")
    bytes: int
    status: DatasetStatus
    created_at: datetime
    examples: int | None = Field(None, description="Number of rows.")
    fields: dict[str, FieldInfo] | None = None
    problem: JobProblem | None = None


class DatasetRow(Schema):
    """One row of a dataset, as it was uploaded."""

    dataset: Name
    digest: Digest
    row: int = Field(description="Number of the row, from 0.")
    fields: dict[str, JsonValue] = Field(
        description="Field → its value in this row: a number, a text, or nested lists. Null where the value is not finite, "
        "and for the fields in `left_out`."
    )
    left_out: dict[str, str] = Field({}, description="Fields that are too large for this answer → the reason.")
    image: str | None = Field(None, description="The field that `GET …/rows/{row}.png` draws by default; null without images.")


class ValueCount(Schema):
    """The number of rows with one value."""

    value: str | int | float | bool
    rows: int


class Histogram(Schema):
    """How many values lie between two edges. There is one edge more than there are counts."""

    edges: list[float]
    counts: list[int]


class FieldStatistics(Schema):
    """Statistics of one field. The numbers are null for texts, and without a finite value."""

    rows: int = Field(description="Number of rows that were read, spread evenly over the dataset.")
    low: float | None = Field(None, description="The smallest finite value.")
    high: float | None = Field(None, description="The largest finite value.")
    mean: float | None = None
    not_finite: int = Field(0, description="Number of values that are NaN or infinite.")
    histogram: Histogram | None = None
    values: list[ValueCount] | None = Field(
        None, description="The distinct values of a field with one value for each row, if there are at most 200 of them."
    )


class DatasetStatistics(Schema):
    """Statistics of a dataset's fields."""

    dataset: Name
    digest: Digest
    examples: int
    fields: dict[str, FieldStatistics]


class InlineDataset(Schema):
    """A small dataset inside a job request: nested lists with one row per example."""

    fields: dict[str, list[JsonValue]] = Field(min_length=1, examples=[{"x": [[0.5, 1.0]], "y": [0]}])
