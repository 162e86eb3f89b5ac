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


class InlineDataset(Schema):
    """A small dataset inside a job request: nested lists with one row per example."""

    fields: dict[str, list[JsonValue]] = Field(min_length=1, examples=[{"x": [[0.5, 1.0]], "y": [0]}])
