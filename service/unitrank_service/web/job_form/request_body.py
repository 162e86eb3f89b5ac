"""The request for a job, made from the values of the form."""

import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import METHODS
from unitrank_schemas.problems import Invalid
from unitrank_schemas.validation import invalid_places
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.strict_json import parse
from unitrank_service.web.job_form.choices import CLUSTERS, FormChoices
from unitrank_service.web.job_form.layer_lines import requested_layer
from unitrank_service.web.job_form.member_lines import BadLines, members_of

Json = dict[str, Any]

UNITS: dict[str, tuple[str, Callable[[Json], Any]]] = {
    "neuron": ("single neurons", lambda values: "neuron"),
    "channel": ("whole channels", lambda values: "channel"),
    "heads": ("attention heads", lambda values: values["heads"]),
    "position": ("positions: tokens, pixels, time steps", lambda values: "position"),
    "groups": ("equal groups of an axis", lambda values: _grouped(values, "groups", _number(values["unit_groups"]))),
    "labels": (
        "groups of an axis by labels",
        lambda values: _grouped(values, "labels", [_number(part) for part in values["unit_groups"].split(",")]),
    ),
}
"""Units of the form → their text, and the function that makes their part of the request."""
BASELINES: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "zeros": ("zeros", lambda values: {"kind": "zeros"}),
    "constant": ("a constant", lambda values: {"kind": "constant", "value": _numbers(values["value"])}),
    "mean": ("the mean of all examples", lambda values: {"kind": "mean"}),
    "cluster_mean": ("the mean of the cluster", lambda values: {"kind": "cluster_mean"}),
    "field": ("a field of the dataset", lambda values: {"kind": "field", "field": values["baseline_field"]}),
    "example": ("one row of the dataset", lambda values: {"kind": "example", "index": _number(values["index"])}),
    "examples": ("several rows, drawn by the seed: scores are their mean", lambda values: {"kind": "examples"} | _drawn(values)),
}
"""Baseline kind → its text in the form, and the function that makes its part of the request."""
FIXED = ("model", "dataset", "layer")
"""Fields of the request that only their own controls decide: the other choices follow from them."""


def request_body(values: Json, choices: FormChoices) -> Json:
    """The body of the request, without fields that have their default value."""
    body: Json = {
        "model": choices.model,
        "dataset": choices.dataset,
        "layer": requested_layer(values["layer"], values["more_layers"]),
        "joint": values["joint"],
        "methods": [_method(entry, values) for entry in values["methods"]] + _given(values),
        "clusters": _clusters(values),
        "inputs": _inputs(values["inputs"]),
        "preprocess": _without({name: _numbers(values[name]) for name in NO_PREPROCESSING}, NO_PREPROCESSING),
        "target": _without(
            {
                "class": _class(values),
                "against": _number(values["against"]) if values["against"] else None,
                "score": values["score"],
                "output_is": values["output_is"],
                "reduce": _reduce(values),
            },
            {"class": None, "against": None, "score": "logit", "output_is": "logits", "reduce": None},
        ),
        "baseline": BASELINES[values["baseline"]][1](values) | _held(values["hold"]) | _own_baselines(values["baselines"]),
        "labels": None if values["labels"] == "y" else values["labels"] or None,
        "output": values["output"] or None,
        "at": values["at"],
        "units": UNITS[values["units"]][1](values),
        "ablation": _ablation(values) if values["ablation"] else None,
        "fidelity": {} if values["fidelity"] else None,
        "keep_examples": _number(values["keep_examples"]),
        "seed": _number(values["seed"]),
        "priority": values["priority"],
    }
    return {name: value for name, value in body.items() if name not in DEFAULTS or value != DEFAULTS[name]} | further(
        values["more"]
    )


def further(text: str) -> Json:
    """The fields that the user wrote as JSON; they replace those of the controls.

    Raises InvalidBody for another text, and for a field in `FIXED`.
    """
    try:
        fields = parse(text.encode()) if text else {}
    except HttpProblem as error:
        raise _invalid(f"the further fields are not JSON: {error.detail}") from error
    if not isinstance(fields, dict):
        raise _invalid('the further fields are not a JSON object; give one, such as {"timeout": 600}')
    for name in FIXED:
        if name in fields:
            raise _invalid(f"the field {name!r} has a control of its own; choose it there, and leave it out of the further fields")
    return fields


def replaced(text: str) -> list[str]:
    """Return the further fields that replace controls of the form; none for an invalid text."""
    try:
        return [name for name in further(text) if name == "methods" or name in DEFAULTS]
    except InvalidBody:
        return []


def _invalid(detail: str) -> InvalidBody:
    return InvalidBody([Invalid(pointer="/more", detail=detail, code="invalid_request")])


NO_PREPROCESSING: Json = {"scale": 1, "mean": None, "std": None}
DEFAULTS: Json = {
    "joint": False,
    "clusters": {"by": "all"},
    "inputs": {},
    "preprocess": {},
    "target": {},
    "baseline": {"kind": "zeros"},
    "labels": None,
    "output": None,
    "at": "output",
    "units": "neuron",
    "ablation": {},
    "fidelity": {},
    "keep_examples": 0,
    "seed": 0,
    "priority": "normal",
}
"""Values that the request leaves out, because they are the defaults."""


def checked_shape(body: Json) -> JobRequest:
    """The body as a request. Raises InvalidBody with every invalid field."""
    try:
        return JobRequest.model_validate(body)
    except ValidationError as error:
        details = [{**detail, "loc": ("body", *detail["loc"])} for detail in error.errors()]
        raise InvalidBody(invalid_places(details, body, JobRequest)) from error


def _method(entry: str, values: Json) -> Any:
    name, _, statistic = entry.partition(":")
    of_path = {"steps": _number(values["steps"]), "spacing": values["spacing"] or None}
    options = {"statistic": statistic, **{field: value for field, value in of_path.items() if field in METHODS[name].model_fields}}
    not_default = _without(options, {"statistic": "mean", "steps": 20, "spacing": None})
    return {"name": name, **not_default} if not_default else name


def _given(values: Json) -> list[Json]:
    """The entry of the scores that the user brings; none without a dataset that has them."""
    if not values["given"]:
        return []
    entry = {"name": "given", "scores": values["given"], "id": values["given_name"], "made_on": values["made_on"]}
    return [_without(entry, {"name": None, "scores": None, "id": "", "made_on": ""})]


def _clusters(values: Json) -> Json:
    options = {control.field: TYPED[control.choices](values[control.id]) for control in CLUSTERS[values["by"]].controls}
    limit = {"limit": _number(values["limit"])} if values["limit"] else {}
    return {"by": values["by"], **options, **limit}


def _members(text: str) -> Json:
    """The groups in the text. Raises InvalidBody."""
    try:
        return dict(members_of(text))
    except BadLines as error:
        detail = f"the groups cannot be read: {error}"
        raise InvalidBody([Invalid(pointer="/clusters/members", detail=detail, code="invalid_request")]) from error


def _ablation(values: Json) -> Json:
    options = {"fill": values["fill"], "random": _number(values["random"]), "examples": _number(values["examples"])}
    return _without(options, {"fill": "baseline", "random": 99, "examples": 200})


def _class(values: Json) -> Any:
    text = values["class"]
    return None if text in ("", values["default_class"]) else text if text in ("label", "predicted", "each") else _number(text)


def _grouped(values: Json, field: str, groups: Any) -> Json:  # Any: a number, labels, or a text that the checks report
    return {"axis": _number(values["unit_axis"]), field: groups}


def _held(text: str) -> Json:
    names = [name.strip() for name in text.split(",") if name.strip()]
    return {"hold": names} if names else {}


def _drawn(values: Json) -> Json:
    return _without({"count": _number(values["count"]), "where": values["where"] or None}, {"count": 16, "where": None})


def _own_baselines(kinds: dict[str, str]) -> Json:
    inputs = {name: {"kind": kind} for name, kind in kinds.items() if kind}
    return {"inputs": inputs} if inputs else {}


def _reduce(values: Json) -> Any:
    if values["reduce"] != "at":
        return values["reduce"] or None
    return {"at": [_number(part) for part in values["reduce_at"].split(",")]}


def _inputs(fields: dict[str, str]) -> dict[str, str]:
    """The fields that differ from the fields that the service would choose."""
    default = "x" if len(fields) == 1 else ""
    return {name: field for name, field in fields.items() if field not in ("", name, default)}


def _numbers(text: str) -> Any:
    """A number, or a list of numbers separated by commas; None for an empty text."""
    return None if text == "" else [_number(part) for part in text.split(",")] if "," in text else _number(text)


def _number(text: str) -> Any:
    """The number in the text.

    Any other text is returned unchanged, so that the checks report it.
    """
    try:
        number = json.loads(text.strip())
    except ValueError:
        return text
    return number if isinstance(number, int | float) and not isinstance(number, bool) else text


def _without(options: Json, default: Json) -> Json:
    return {name: value for name, value in options.items() if value != default[name]}


TYPED: dict[str | None, Callable[[str], Any]] = {"fields": str, "layers": str, "rows": _members, None: _number}
"""Choices of a cluster control → the value in the request."""
