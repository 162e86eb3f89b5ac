"""Baselines x′: inputs without the signal, with which each example is compared."""

from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import Schema


class Zeros(Schema):
    """All zeros, after preprocessing."""

    kind: Literal["zeros"] = "zeros"


class Constant(Schema):
    """One value everywhere, after preprocessing."""

    kind: Literal["constant"]
    value: float


class Mean(Schema):
    """The mean over the job's examples."""

    kind: Literal["mean"]


class ClusterMean(Schema):
    """The mean over the examples of the same cluster."""

    kind: Literal["cluster_mean"]


class BaselineField(Schema):
    """A different baseline for each example, from a field of the dataset; preprocessed like x."""

    kind: Literal["field"]
    field: str


class Example(Schema):
    """One row of the dataset; preprocessed like x."""

    kind: Literal["example"]
    index: int = Field(ge=0, description="Number of the row, from 0.")


Baseline = Annotated[Zeros | Constant | Mean | ClusterMean | BaselineField | Example, Field(discriminator="kind")]
