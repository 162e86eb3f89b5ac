"""The candidates that scores are compared with: methods, targets and places."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any

from pydantic import TypeAdapter, ValidationError

from unitrank_schemas.facts.facts import logit_count
from unitrank_schemas.jobs import Units, unit_shape
from unitrank_schemas.models import Layer, OutputPort

QUICK = ("gradient", "gradient_x_activation", "gradient_x_delta")
SLOW = ("conductance", "integrated_gradients", "deeplift")
STATISTICS = ("mean", "mean_abs", "rms")
SCORES = ("logit", "probability", "log_probability", "centered", "margin")
SCORES_OF_ONE = ("logit", "probability", "log_probability")
"""The scores of an output with one value."""
MOST_CLASSES = 20
MOST_PLACES = 8
UNITS: TypeAdapter[Units] = TypeAdapter(Units)

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One way to compute scores: the claimed request with some fields changed.

    `changes`: the fields of the request that differ; none for the claimed candidate.
    `place`: description of another place.
    `score`: another score of the target. `class_`: description of another class, and
    `class_number`: its number, where it is one class for all examples.
    """

    changes: Request = field(default_factory=dict)
    place: str | None = None
    score: str | None = None
    class_: str | None = None
    class_number: int | None = None

    @property
    def is_claimed(self) -> bool:
        """Whether target and place are those that the caller named."""
        return self.place is None and not self.has_other_target

    @property
    def where(self) -> str:
        """The other place or target, as the end of a sentence; empty for the claimed candidate."""
        if self.place is not None:
            return f", at {self.place}"
        if self.score is not None:
            return f", for the target's score {self.score!r}"
        return f", for {self.class_}" if self.class_ is not None else ""

    @property
    def has_other_target(self) -> bool:
        """Whether the score or the class differs from the caller's."""
        return self.score is not None or self.class_ is not None


@dataclass(frozen=True)
class Network:
    """The parts of a manifest that the candidates need."""

    layers: Sequence[Layer]
    output: OutputPort

    @property
    def classes(self) -> int:
        """The number of classes; 2 for an output of one value."""
        return max(2, logit_count(self.output) or 2)

    @property
    def has_one_value(self) -> bool:
        """Whether the output has the shape [N] or [N, 1]."""
        return logit_count(self.output) == 1


def entries(names: Sequence[str], statistics: Sequence[str] = ("mean",)) -> list[dict[str, str]]:
    """The entries of a job's `methods`."""
    return [{"name": name, "statistic": statistic} for name in names for statistic in statistics]


def variations(request: Request, network: Network, has_labels: bool) -> list[Candidate]:
    """The candidates beside the claimed one, the likeliest first."""
    return list(chain(_places(request, network), _targets(request, network, has_labels)))


def claimed_class(request: Request, network: Network, has_labels: bool) -> Any:
    """The class that the request explains: its own, or the default."""
    choice = request.get("target", {}).get("class")
    return choice if choice is not None or network.has_one_value else "label" if has_labels else "predicted"


def _targets(request: Request, network: Network, has_labels: bool) -> Iterator[Candidate]:
    target, claimed = request.get("target", {}), claimed_class(request, network, has_labels)
    if claimed is None:
        # The raw value of a regression has neither classes nor probabilities.
        return
    score = target.get("score", "logit")
    for other in SCORES_OF_ONE if network.has_one_value else SCORES:
        if other != score:
            yield Candidate({"target": {**target, "class": claimed, "score": other}}, score=other)
    names = ("label", "predicted") if has_labels else ("predicted",)
    choices: list[Any] = [name for name in names if name != claimed]
    choices += [number for number in range(min(network.classes, MOST_CLASSES)) if number != claimed]
    for choice in choices:
        number = choice if isinstance(choice, int) else None
        text = f"{class_text(choice)}, and not of {class_text(claimed)}"
        yield Candidate({"target": {**target, "class": choice}}, class_=text, class_number=number)


def class_text(choice: Any) -> str:
    """A class of a target in words."""
    return {"label": "the labelled class", "predicted": "the predicted class"}.get(choice, f"class {choice} in every example")


def _places(request: Request, network: Network) -> Iterator[Candidate]:
    layer, at = request["layer"], request.get("at", "output")
    names = [each.name for each in network.layers]
    if layer not in names:
        return
    index = names.index(layer)
    size = unit_count(network.layers[index], at, request)
    places = [(each, side) for each in network.layers for side in ("output", "input")]
    places.sort(
        key=lambda place: (abs(names.index(place[0].name) - index), place[1] == "input", names.index(place[0].name) < index)
    )
    same = [(each, side) for each, side in places if unit_count(each, side, request) == size and (each.name, side) != (layer, at)]
    for each, side in same[:MOST_PLACES]:
        kind = f" ({each.kind})" if each.kind != "Input" else ""
        here = network.layers[index].kind
        yield Candidate(
            {"layer": each.name, "at": side}, place=f"the {side} of `{each.name}`{kind}, and not the {at} of `{layer}` ({here})"
        )


def unit_count(layer: Layer, at: str, request: Request) -> int | None:
    """The number of units; None for a place that cannot be ranked or does not have such units."""
    shape, axis = (layer.shape, layer.channel_axis) if at == "output" else (layer.input_shape, layer.input_channel_axis)
    if shape is None:
        return None
    try:
        of_units = unit_shape(UNITS.validate_python(request.get("units", "neuron")), shape, axis)
    except ValidationError:
        return None
    return None if of_units is None else prod(of_units)
