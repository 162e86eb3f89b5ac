"""The form for a job: the fields that the browser sent, and the errors of its controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from unitrank_schemas.json_pointer import steps
from unitrank_schemas.methods import METHODS
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import HttpProblem
from unitrank_service.web.job_form.choices import CLUSTERS, FormChoices, name_of
from unitrank_service.web.job_form.layer_lines import lines_in

Json = dict[str, Any]
FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 500


@dataclass(frozen=True)
class Form:
    """The fields of the form.

    `fresh`: the form was not sent; the fields are suggestions of a link.
    """

    values: Mapping[str, list[str]]
    fresh: bool = False

    def one(self, name: str, default: str = "") -> str:
        """The last value of the field."""
        return self.values.get(name, [default])[-1].strip()

    def many(self, name: str) -> list[str]:
        """All values of the field, such as ticked boxes of one name."""
        return self.values.get(name, [])

    def chosen(self, name: str, options: list[str], default: str = "") -> str:
        """The field's value if it is one of the options, otherwise the default."""
        value = self.one(name)
        return value if value in options else default


def read(body: bytes, kind: str) -> Form:
    """The fields in the body. Raises HttpProblem for another media type or a malformed body."""
    if kind != FORM:
        raise HttpProblem("unsupported_media_type", f"Content-Type {kind!r} is not accepted here; use {FORM!r}")
    try:
        return Form(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise HttpProblem("invalid_request", f"the body is malformed: expected fields as {FORM}") from error


def first_layer(form: Form) -> str:
    """The layer or the pattern that the other choices of the form follow from; "" without one."""
    return form.one("layer") or next(iter(lines_in(form.one("more_layers"))), "")


def missing(form: Form, values: Json, choices: FormChoices) -> list[Invalid]:
    """One error for each control whose sent value is not among its choices (any more)."""
    contents = {"model": choices.model, "dataset": choices.dataset, "layer": values["layer"]}
    # A missing control is not an error, but the form always sends these three.
    controls = {name: (value, form.one(name)) for name, value in contents.items()}
    others = {f"input.{name}": field for name, field in values["inputs"].items()}
    others |= {
        name: value for name, value in values.items() if name != "layer" and isinstance(value, str) and _has_effect(name, values)
    }
    controls |= {name: (value, form.one(name, value)) for name, value in others.items()}
    errors = [_gone(_word(name), sent, name) for name, (value, sent) in controls.items() if sent != value]
    title = {name_of(method): method.title for method in METHODS.values()}
    methods = [entry.partition(":") for entry in form.many("method") if entry not in values["methods"]]
    return errors + [_gone("method", f"{title.get(name, name)} ({statistic})", "methods") for name, _, statistic in methods]


def control(pointer: str) -> str:
    """The id of the control that fills this place of the request; empty if no control does."""
    parts = steps(pointer)
    match parts:
        case ["methods", _, ("steps" | "spacing" | "made_on") as option]:
            return option
        case ["methods", _, ("scores" | "id") as option]:
            return {"scores": "given", "id": "given_name"}[option]
        case ["layer", _]:
            return "more_layers"
        case ["units", field, *_]:
            return "unit_axis" if field == "axis" else "unit_groups"
        case ["inputs", name]:
            return f"input.{name}"
        case ["clusters", field] if field in CLUSTER_CONTROLS:
            return CLUSTER_CONTROLS[field].id
        case ["baseline", "field"]:
            return "baseline_field"
        case ["baseline", "inputs", name, *_]:
            return f"baseline.{name}"
        case ["methods", *_] | []:
            return "methods" if parts else ""
        case _:
            return next((part for part in reversed(parts) if not part.isdigit()), "")


CLUSTER_CONTROLS = {control.field: control for kind in CLUSTERS.values() for control in kind.controls}
"""Field of the request's `clusters` → the control that fills it."""
NOUNS = {"fields": "field", "layers": "layer"}
CONTROLS_OF = {
    **{control.id: ("by", by) for by, kind in CLUSTERS.items() for control in kind.controls},
    "baseline_field": ("baseline", "field"),
    "where": ("baseline", "examples"),
}
"""Control → the choice that it belongs to. Without that choice the control has no effect."""


def _has_effect(name: str, values: Json) -> bool:
    owner, value = CONTROLS_OF.get(name, (name, values[name]))
    return bool(values[owner] == value)


def _word(name: str) -> str:
    """The noun for the choice of a control, for error messages."""
    words = {"at": "side", "labels": "field", "baseline_field": "field", "where": "field", "made_on": "field"}
    words |= {control.id: NOUNS[control.choices] for control in CLUSTER_CONTROLS.values() if control.choices in NOUNS}
    return "field" if name.startswith("input.") else words.get(name, name)


def _gone(word: str, value: str, name: str) -> Invalid:
    choice = f"the {word} {value[:100]!r}" if value else f"an empty {word}"
    return Invalid(pointer=f"/{name}", detail=f"{choice} is not available any more; check the form and send it again", code="gone")
