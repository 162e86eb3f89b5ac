"""One unit of a result: its importance everywhere, and the examples that move it."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.results.subject import Content, RankedLayer


class UnitExample(Schema):
    """One example of a cluster."""

    row: int = Field(description="Row of the dataset; `GET /v1/datasets/{name}/rows/{row}` reads it.")
    value: float


class UnitExamples(Schema):
    """The examples with the largest and the smallest values, the most extreme one first."""

    largest: list[UnitExample]
    smallest: list[UnitExample]


class UnitEffect(Schema):
    """The mean drop of the score when this unit alone is replaced."""

    value: float
    source: Literal["verify", "exact_ablation"] = Field(
        description="`verify`: over the test examples. `exact_ablation`: over all examples of the cluster."
    )
    ranking: str = Field(description="The ranking with which the effect was measured.")


class UnitInCluster(Schema):
    """One unit in one cluster of one ranking."""

    importance: float | None
    spread: float | None
    rank: int | None = Field(description="Place in the order of importance; 1 is the most important unit.")
    effect: UnitEffect | None
    score: UnitExamples | None = Field(description="The examples in which the method gives the unit its extreme scores.")
    activation: UnitExamples | None = Field(description="The examples in which the unit has its extreme values.")


class UnitInRanking(Schema):
    """One unit in one ranking."""

    id: str
    target_class: int | None = None
    clusters: dict[str, UnitInCluster]


class UnitResult(Schema):
    """Everything that a result has about one unit."""

    job: str
    dataset: Content
    layer: RankedLayer
    unit: int
    index: list[int] = Field(description="Position in the layer's shape.")
    name: str = Field("", description="The unit's number or place, with its word: `head 3`, `position 7`.", examples=["head 3"])
    rankings: list[UnitInRanking]
    missing: dict[str, str] = Field(
        description="`rank`, `effect`, `score` or `activation` → why it is null somewhere, and the request that gives it."
    )
