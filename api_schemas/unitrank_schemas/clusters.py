"""Clusters: named sets of examples that are attributed together."""

from typing import Annotated, Literal

from pydantic import FailFast, Field

from unitrank_schemas.base import Schema

Limit = Annotated[int, Field(ge=1)]
LIMIT = Field(None, description="At most so many examples of each cluster, drawn with the job's seed.")


class All(Schema):
    """One cluster, `all`, of every row."""

    by: Literal["all"] = "all"
    limit: Limit | None = LIMIT


class ByLabel(Schema):
    """A cluster for each label."""

    by: Literal["label"]
    limit: Limit | None = LIMIT


class ByPrediction(Schema):
    """A cluster for each class that the model predicts."""

    by: Literal["prediction"]
    limit: Limit | None = LIMIT


class ByField(Schema):
    """A cluster for each value of a field of the dataset."""

    by: Literal["field"]
    field: str
    limit: Limit | None = LIMIT


class Members(Schema):
    """Clusters by hand: row numbers of the dataset under each name; a row may be in several."""

    by: Literal["members"]
    # The first wrong row is enough: there may be millions.
    members: dict[str, Annotated[list[Annotated[int, Field(ge=0)]], FailFast()]] = Field(min_length=1, examples=[{"a": [0, 3]}])
    limit: Limit | None = LIMIT


class KMeans(Schema):
    """Clusters `0`, `1` …, the largest first, of examples that are alike in a layer's output, which need not be the job's layer."""

    by: Literal["kmeans"]
    k: int = Field(ge=1, description="How many; those that no example is nearest to are left out.", examples=[8])
    layer: str = Field(min_length=1, max_length=512, examples=["fc1"])
    limit: Limit | None = LIMIT


Clusters = Annotated[All | ByLabel | ByPrediction | ByField | Members | KMeans, Field(discriminator="by")]
