"""Baselines x′: inputs without the signal, with which each example is compared."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import Schema

MOST_DRAWN = 1000
"""Rows that a baseline of kind `examples` draws, at most."""


class BaselineKind(Schema):
    """The fields of every kind of baseline: the inputs that keep their value or have another one.

    The names are those of inputs, and of embeddings in the model's `path`.
    """

    hold: list[str] = Field(
        [],
        max_length=1000,
        description="Inputs that keep their value at x, such as masks and adjacency matrices; also embeddings of the model's "
        "`path`.",
    )
    inputs: dict[str, "Baseline"] = Field(
        default={},
        max_length=1000,
        description="Input, or embedding of the model's `path` → its own baseline. All others have the baseline around this field.",
    )


class Zeros(BaselineKind):
    """All zeros, after preprocessing."""

    kind: Literal["zeros"] = "zeros"


class Constant(BaselineKind):
    """One value everywhere, or one value for each channel, after preprocessing."""

    kind: Literal["constant"]
    value: float | Annotated[list[float], Field(min_length=1, max_length=100_000)] = Field(
        description="A list has one number for each index of axis 1; if axis 1 has another size, and for embeddings, for each "
        "index of the last axis."
    )


class Mean(BaselineKind):
    """The mean over the job's examples."""

    kind: Literal["mean"]


class ClusterMean(BaselineKind):
    """The mean over the examples of the same cluster."""

    kind: Literal["cluster_mean"]


class BaselineField(BaselineKind):
    """A different baseline for each example, from a field of the dataset; preprocessed like x."""

    kind: Literal["field"]
    field: str


class Example(BaselineKind):
    """One row of the dataset; preprocessed like x."""

    kind: Literal["example"]
    index: int = Field(ge=0, description="Number of the row, from 0.")


class DrawnExamples(BaselineKind):
    """Several rows, drawn by `seed` without repeats; every score is the mean over these baselines.

    Preprocessed like x.
    """

    kind: Literal["examples"]
    count: int = Field(16, ge=1, le=MOST_DRAWN, description="Number of rows that are drawn, each a baseline of every example.")
    where: str | None = Field(
        None,
        min_length=1,
        description="Boolean field of the dataset: the rows are drawn from those in which it is true. null: from the job's "
        "examples.",
    )


Baseline = Annotated[Zeros | Constant | Mean | ClusterMean | BaselineField | Example | DrawnExamples, Field(discriminator="kind")]
"""Each kind, by its `kind`."""

for _kind in (Zeros, Constant, Mean, ClusterMean, BaselineField, Example, DrawnExamples):
    _kind.model_rebuild()


def drawn_count(baseline: Baseline) -> int:
    """The number of baselines of each example, at most: 1, or the number of rows that are drawn.

    The job has fewer if no input has the baseline with the most rows.
    """
    kinds = (baseline, *baseline.inputs.values())
    return max(each.count if isinstance(each, DrawnExamples) else 1 for each in kinds)


def baseline_of(baseline: Baseline, name: str, inputs: Sequence[str]) -> Baseline | None:
    """The baseline of one value of the model's path; None if the value keeps its value at x.

    An entry for the value counts before an entry for an input that the value is computed from.

    `name`: a real input, or an embedding.
    `inputs`: the inputs that the value is computed from.
    """
    for each in (name, *inputs):
        if each in baseline.hold:
            return None
        if each in baseline.inputs:
            return baseline.inputs[each]
    return baseline


def axis_of_channels(shape: Sequence[int | None], count: int, *, looked_up: bool) -> int | None:
    """The axis that a list of a constant belongs to, as an index of `shape`, which has the batch.

    It is axis 1 of an input, else the last axis. None if no such axis has `count` indices.

    >>> axis_of_channels([None, 3, 32, 32], 3, looked_up=False)
    1
    >>> axis_of_channels([None, 32, 32, 3], 3, looked_up=False)
    3
    """
    last = len(shape) - 1
    axes = [last] if looked_up else [1, last]
    return next((axis for axis in axes if 0 < axis <= last and shape[axis] == count), None)
