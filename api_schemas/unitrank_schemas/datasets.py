"""Datasets: named tables whose fields all have the same number of rows."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from unitrank_schemas.base import Digest, Name, Schema
from unitrank_schemas.models import Shape
from unitrank_schemas.problems import JobProblem

DatasetStatus = Literal["importing", "ready", "rejected"]


class FieldInfo(Schema):
    """One field of a dataset; the first axis of its shape counts the rows."""

    dtype: str = Field(examples=["uint8", "float32", "str"])
    shape: Shape = Field(examples=[[None, 1, 28, 28]])


class Dataset(Schema):
    """A dataset; its fields are null until it is ready, and so is the digest of one that is read from elsewhere."""

    name: Name
    digest: Digest | None
    bytes: int
    status: DatasetStatus
    created_at: datetime
    examples: int | None = None
    fields: dict[str, FieldInfo] | None = None
    problem: JobProblem | None = None


class InlineDataset(Schema):
    """A small dataset inside a job request: nested lists, one row an example."""

    fields: dict[str, list[JsonValue]] = Field(min_length=1, examples=[{"x": [[0.5, 1.0]], "y": [0]}])
