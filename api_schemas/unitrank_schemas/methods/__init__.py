"""Methods: how units get their importance; one schema each, one table of all."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from unitrank_schemas.base import Schema
from unitrank_schemas.methods.activation import Activation
from unitrank_schemas.methods.base import MethodBase, RankingId, Statistic
from unitrank_schemas.methods.deeplift import DeepLift
from unitrank_schemas.methods.exact_ablation import ExactAblation
from unitrank_schemas.methods.gradient import GradCam, Gradient, GradientXActivation, GradientXDelta, Noise
from unitrank_schemas.methods.path import Conductance, IntegratedGradients, InternalInfluence, PathMethod
from unitrank_schemas.methods.random import Random

METHODS: dict[str, type[MethodBase]] = {
    "activation": Activation,
    "gradient": Gradient,
    "gradient_x_activation": GradientXActivation,
    "gradient_x_delta": GradientXDelta,
    "conductance": Conductance,
    "internal_influence": InternalInfluence,
    "integrated_gradients": IntegratedGradients,
    "deeplift": DeepLift,
    "exact_ablation": ExactAblation,
    "grad_cam": GradCam,
    "random": Random,
}


def _named(entry: Any) -> Any:
    """A bare name stands for the method with its defaults."""
    return {"name": entry} if isinstance(entry, str) else entry


Method = Annotated[
    Annotated[
        Activation
        | Gradient
        | GradientXActivation
        | GradientXDelta
        | Conductance
        | InternalInfluence
        | IntegratedGradients
        | DeepLift
        | ExactAblation
        | GradCam
        | Random,
        Field(discriminator="name"),
    ],
    BeforeValidator(_named, json_schema_input_type=str | dict[str, Any]),
]


def with_ids(methods: list[Method]) -> list[Method]:
    """The same entries, each with an id: given ones stay, others get the name, `.<statistic>`, and `-2`, `-3` on a repeat."""
    taken = {method.id for method in methods if method.id}
    named = []
    for method in methods:
        if method.id is None:
            stem = method.name if method.statistic == "mean" else f"{method.name}.{method.statistic}"
            choice, count = stem, 1
            while choice in taken:
                count += 1
                choice = f"{stem}-{count}"
            taken.add(choice)
            method = method.model_copy(update={"id": choice})
        named.append(method)
    return named


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


__all__ = [
    "METHODS",
    "Activation",
    "Conductance",
    "DeepLift",
    "ExactAblation",
    "GradCam",
    "Gradient",
    "GradientXActivation",
    "GradientXDelta",
    "IntegratedGradients",
    "InternalInfluence",
    "Method",
    "MethodBase",
    "MethodCard",
    "Noise",
    "PathMethod",
    "Random",
    "RankingId",
    "Statistic",
    "card",
    "with_ids",
]
