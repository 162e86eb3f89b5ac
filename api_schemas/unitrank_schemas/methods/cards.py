"""The catalogue: one card for each method, made from its schema."""

from typing import Any

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.methods.table import METHODS


class MethodCard(Schema):
    """One entry of the catalogue."""

    name: str
    title: str
    summary: str
    formula: str
    source: str
    complete: bool = Field(description="Scores sum to F(x) − F(x′) at every layer that is a cut.")
    needs_gradient: bool
    needs_baseline: bool
    cost: str = Field(description="Passes, in words.")
    options: dict[str, Any] = Field(description="JSON Schema of an entry of a job's `methods`, with defaults.")


def card(name: str) -> MethodCard:
    """The catalogue's entry of a method. Raises KeyError for a name that is no method."""
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
