"""Given: scores that the client brings, from another tool or from its own code."""

from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import Reference
from unitrank_schemas.methods.base import MethodBase, MethodPasses

MOST_IMPORTANCE_BYTES = 2**20
"""Limit of `importance` as JSON, in bytes."""
NO_ROW = "none"
"""The value of `made_on` that says: no row of the dataset made the scores."""

# Only the first wrong number is reported: there may be many thousands.
Importance = Annotated[list[float], Field(min_length=1, fail_fast=True)]


class Given(MethodBase):
    """Scores that come with the job. Exactly one of `field`, `importance` and `scores` is set."""

    title = "Given scores"
    summary = "Scores that you bring, from another tool or from your own code. They are tested as those of any method."
    formula = "the number that you give"
    source = "the client"
    cost = "nothing"
    needs_gradient = False
    explains_class = False

    name: Literal["given"] = "given"
    field: str | None = Field(
        None,
        min_length=1,
        description="Field of the job's dataset with the scores of each example, [N, *place] or [N, units]. `split` and "
        "`statistic` apply as to any method.",
        examples=["scores"],
    )
    importance: dict[str, Importance] | Importance | None = Field(
        None,
        description=f"Cluster → the importance of each unit, or one list for all clusters; at most {MOST_IMPORTANCE_BYTES} bytes "
        "as JSON.",
        examples=[{"0": [0.5, 0.0, 1.25], "1": [0.0, 2.0, 0.75]}],
    )
    scores: Reference | None = Field(
        None,
        description="Name of a dataset with one row for each cluster: field `importance` [clusters, *place] or [clusters, units], "
        "field `cluster` with the clusters' names. A single row without `cluster` counts for all clusters.",
        examples=["mine"],
    )
    made_on: str | None = Field(
        None,
        min_length=1,
        description="The rows that made the scores, which are not used for testing: a boolean field of the job's dataset, or "
        f"`{NO_ROW}` if no row of this dataset made them. With null, the result has the warning `in_sample_unknown`.",
        examples=["train"],
    )

    @property
    def scores_examples(self) -> bool:
        return self.field is not None

    @property
    def datasets(self) -> list[str]:
        return [] if self.scores is None else [self.scores]

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses("nothing", 0.0)


Family = Given
