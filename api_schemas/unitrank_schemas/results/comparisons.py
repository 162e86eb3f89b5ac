"""Comparisons of two rankings: which one is better, and whether they agree."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema

Relation = Literal["zero", "equal", "factor", "reversed", "other_statistic", "first_examples", "other_target", "none"]


class Comparison(Schema):
    """The difference of two rankings' areas, from the same test examples.

    All values are null where no cluster has two test examples and an area.
    """

    a: str
    b: str
    difference: float | None = Field(None, description="Mean over clusters of area of a − area of b.")
    low: float | None = Field(None, description="Lower end of the t interval of `difference`, at the job's `level`.")
    high: float | None = Field(None, description="Upper end of the interval.")
    keep_difference: float | None = Field(
        None, description="The same for the loss of keeping the first units; larger is better for a, as in `difference`."
    )
    keep_low: float | None = None
    keep_high: float | None = None
    ahead: Literal["a", "b"] | None = Field(
        None,
        description="The ranking whose verdict is better and whose lead exceeds the noise of random orders.",
    )
    keep_ahead: Literal["a", "b"] | None = None


class Agreement(Schema):
    """How similar the importances of two rankings are."""

    a: str
    b: str
    spearman: float | None = Field(None, description="Mean over clusters of the rank correlation; null where one is constant.")
    pearson: float | None = Field(None, description="Mean over clusters of the linear correlation; null where one is constant.")
    cosine: float | None = Field(None, description="Mean over clusters of the cosine; null where one is constant.")
    scale: float | None = Field(None, description="The s with the smallest Σ (a − s·b)², over all clusters and units.")
    relative_difference: float | None = Field(None, description="max |a − s·b| / max |a| with s = `scale`; null where a is zero.")
    top_overlap: float | None = Field(None, description="Mean over clusters of the number of units that both have in their top 20.")


class GivenRelation(Schema):
    """The relation of given scores to the computed rankings of the job."""

    ranking: str
    nearest: str | None = Field(None, description="The ranking that is nearest to the given one; null if none is related.")
    relation: Relation
    detail: str
