"""Methods: how units get their importance; one schema each, one table of all."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from api_schemas.base import Schema

Statistic = Literal["mean", "mean_abs", "rms"]
RankingId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class MethodBase(Schema):
    """What every entry takes: how a cluster's examples are reduced, and the ranking's own name."""

    title: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    cost: ClassVar[str]
    complete: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True
    needs_baseline: ClassVar[bool] = False

    name: str
    statistic: Statistic = "mean"
    id: RankingId | None = Field(None, description="Default: the name, with `.<statistic>` when it is not `mean`.")


class Activation(MethodBase):
    """The unit's own value."""

    title = "Activation"
    summary = "The mean value of the unit: how active it is, whatever the output does with it."
    formula = "h"
    source = "Erhan et al. 2009, Visualizing Higher-Layer Features of a Deep Network"
    cost = "one forward pass up to the layer"
    needs_gradient = False

    name: Literal["activation"] = "activation"


class Gradient(MethodBase):
    """The slope of the target with respect to the unit."""

    title = "Gradient"
    summary = "How fast the target changes with the unit at the input itself. Signed slopes of unlike examples cancel."
    formula = "∂F/∂h"
    source = "Simonyan et al. 2014, arXiv:1312.6034"
    cost = "one forward and one backward pass through the layers after it"

    name: Literal["gradient"] = "gradient"


class GradientXActivation(MethodBase):
    """Slope times value: the first-order change when the unit is set to zero."""

    title = "Gradient × activation"
    summary = "The first-order estimate of what the target loses when the unit becomes zero."
    formula = "h · ∂F/∂h"
    source = "Shrikumar et al. 2017, arXiv:1605.01713; Molchanov et al. 2017, arXiv:1611.06440"
    cost = "one forward and one backward pass through the layers after it"

    name: Literal["gradient_x_activation"] = "gradient_x_activation"


class GradientXDelta(MethodBase):
    """Slope times the difference from the baseline: the first-order change when the unit goes back to it."""

    title = "Gradient × delta"
    summary = "The first-order estimate of what the target loses when the unit returns to its value at the baseline."
    formula = "(h − h′) · ∂F/∂h"
    source = "arXiv:1807.09946, the study's gradient method"
    cost = "one forward and one backward pass through the layers after it"
    needs_baseline = True

    name: Literal["gradient_x_delta"] = "gradient_x_delta"


class PathMethod(MethodBase):
    """What the methods on the straight path from the baseline to the input share."""

    needs_baseline = True

    steps: int = Field(20, ge=1, le=10_000, description="Intervals of the path.")
    rule: Literal["left", "right", "trapezoid"] = Field(
        "trapezoid", description="Where in its interval the gradient is taken; `right` is the paper's."
    )
    spacing: Literal["uniform", "cubic"] | None = Field(
        None, description="`cubic`: α = t³, dense near the baseline. Default: cubic where the baseline is zeros, else uniform."
    )


class Conductance(PathMethod):
    """Neuron Integrated Gradients: the part of F(x) − F(x′) that flows through the unit."""

    title = "Conductance (Neuron Integrated Gradients)"
    summary = "The share of the change of the target along the path from the baseline that passes through the unit."
    formula = "∫ ∂F/∂h · dh/dα dα  ≈  Σₜ ∂F/∂h · (h(xₜ) − h(xₜ₋₁))"
    source = "Dhamdhere et al. 2018, arXiv:1805.12233; Shrikumar et al. 2018, arXiv:1807.09946, eq. 2"
    cost = "steps + 1 forward passes; steps backward passes (one more for `trapezoid`) through the layers after it"
    complete = True

    name: Literal["conductance"] = "conductance"


class InternalInfluence(PathMethod):
    """The mean gradient along the path of the inputs."""

    title = "Internal influence"
    summary = "The slope of the target with respect to the unit, averaged along the path from the baseline to the input."
    formula = "∫ ∂F/∂h dα"
    source = "Leino et al. 2018, arXiv:1802.03788"
    cost = "steps forward and backward passes (one more for `trapezoid`)"

    name: Literal["internal_influence"] = "internal_influence"


class Random(MethodBase):
    """Seeded noise: what any method must beat."""

    title = "Random"
    summary = "Independent normal noise for every example and unit: the control."
    formula = "N(0, 1)"
    source = "control"
    cost = "nothing"
    needs_gradient = False

    name: Literal["random"] = "random"


METHODS: dict[str, type[MethodBase]] = {
    "activation": Activation,
    "gradient": Gradient,
    "gradient_x_activation": GradientXActivation,
    "gradient_x_delta": GradientXDelta,
    "conductance": Conductance,
    "internal_influence": InternalInfluence,
    "random": Random,
}


def _named(entry: Any) -> Any:
    """A bare name stands for the method with its defaults."""
    return {"name": entry} if isinstance(entry, str) else entry


Method = Annotated[
    Annotated[
        Activation | Gradient | GradientXActivation | GradientXDelta | Conductance | InternalInfluence | Random,
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
