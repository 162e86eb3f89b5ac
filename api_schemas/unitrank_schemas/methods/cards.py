"""The cards that `GET /v1/methods` serves, made from the methods' schemas."""

from typing import Any

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.methods.table import METHODS


class MethodCard(Schema):
    """A method: its formula, source, cost and options."""

    name: str
    title: str
    summary: str
    formula: str = Field(description="The score of a unit for one example.")
    source: str = Field(description="The paper.")
    complete: bool = Field(description="Whether the scores sum to F(x) − F(x′) at every place that is a cut.")
    needs_gradient: bool
    needs_baseline: bool
    cost: str = Field(description="Passes through the model for one example.")
    options: dict[str, Any] = Field(description="JSON Schema of an entry of a job's `methods`, with defaults.")


def card(name: str) -> MethodCard:
    """The card of the method with this name. Raises KeyError if there is no such method."""
    method = METHODS[name]
    return MethodCard(
        name=name,
        title=method.title,
        summary=method.summary,
        formula=method.formula,
        source=method.source,
        complete=method.complete,
        needs_gradient=method.needs_gradient,
        needs_baseline=method.needs_baseline,
        cost=method.cost,
        options=method.model_json_schema(),
    )
