"""The form for a job: the fields that the browser sent, and the value that each control shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from unitrank_schemas.jobs.clusters import FormControl
from unitrank_schemas.json_pointer import steps
from unitrank_schemas.methods import METHODS
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import HttpProblem
from unitrank_service.web.job_form.choices import CLUSTERS, FormChoices, name_of
from unitrank_service.web.job_form.layer_lines import lines_in
from unitrank_service.web.job_form.request_body import (
    BASELINES,
    FILLS,
    OUTPUT_KINDS,
    OWN_BASELINES,
    REDUCTIONS,
    SPACINGS,
    STATISTICS,
    UNITS,
)

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


def filled(form: Form, choices: FormChoices) -> Json:
    """The value that each control shows: the chosen value if it is available, otherwise the
    default.
    """
    labels, inputs = choices.labels(), choices.inputs()
    sides = choices.sides
    at = form.chosen("at", sides, "output")
    output = form.chosen("output", [port.name for port in choices.manifest.outputs] if choices.manifest else [])
    single = choices.logits(output) == 1
    entries = [f"{name_of(method)}:{statistic}" for method in choices.methods(at) for statistic in STATISTICS]
    default = [entry for entry in ("gradient:mean", "gradient:mean_abs", "conductance:mean") if entry in entries] or entries[:1]
    more_layers = form.one("more_layers")
    label = form.chosen("labels", labels, "y" if "y" in labels else "")
    return {
        # Without a layer of its own the job has those of the lines.
        "layer": "" if more_layers and not form.one("layer") else choices.layer.name if choices.layer else "",
        "more_layers": more_layers,
        "joint": bool(form.one("joint")),
        "at": at,
        "output": output,
        "units": form.chosen("units", list(UNITS), "neuron"),
        "unit_axis": form.one("unit_axis", "-1"),
        "unit_groups": form.one("unit_groups"),
        "methods": default if form.fresh else [entry for entry in form.many("method") if entry in entries],
        "steps": form.one("steps", "20"),
        "spacing": form.chosen("spacing", list(SPACINGS), ""),
        "given": form.one("given"),
        "given_name": form.one("given_name", "mine"),
        "made_on": form.chosen("made_on", ["none", *choices.booleans()]),
        "by": form.chosen("by", list(CLUSTERS), "label" if label else "all"),
        **{control.id: SHOWN[control.choices](form, choices, control) for kind in CLUSTERS.values() for control in kind.controls},
        "limit": form.one("limit"),
        "inputs": {name: form.chosen(f"input.{name}", fields, _default_field(name, fields)) for name, fields in inputs.items()},
        "labels": label,
        "scale": form.one("scale", "1"),
        "mean": form.one("mean"),
        "std": form.one("std"),
        "class": form.one("class", "" if single else "label" if label else "predicted"),
        "default_class": "" if single else "label" if label else "predicted",
        "against": form.one("against"),
        "score": form.one("score", "logit"),
        "reduce": form.chosen("reduce", list(REDUCTIONS), ""),
        "reduce_at": form.one("reduce_at"),
        "output_is": form.chosen("output_is", list(OUTPUT_KINDS), "logits"),
        "baseline": form.chosen("baseline", list(BASELINES), "zeros"),
        "value": form.one("value", "0"),
        "baseline_field": form.chosen("baseline_field", choices.baselines(), next(iter(choices.baselines()), "")),
        "index": form.one("index", "0"),
        "count": form.one("count", "16"),
        "where": form.chosen("where", choices.booleans(), ""),
        "hold": form.one("hold"),
        "baselines": {name: form.chosen(f"baseline.{name}", list(OWN_BASELINES)) for name in choices.movable()},
        "ablation": form.fresh or bool(form.one("ablation")),
        "fill": form.chosen("fill", list(FILLS), "baseline"),
        "random": form.one("random", "99"),
        "examples": form.one("examples", "200"),
        "fidelity": form.fresh or bool(form.one("fidelity")),
        "keep_examples": form.one("keep_examples", "0"),
        "seed": form.one("seed", "0"),
        "priority": form.chosen("priority", ["high", "normal", "low"], "normal"),
        "fresh": bool(form.one("fresh")),
        "more": form.one("more"),
    }


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
SHOWN: dict[str | None, Callable[[Form, FormChoices, FormControl], str]] = {
    "fields": lambda form, choices, control: form.chosen(control.id, choices.groups(), next(iter(choices.groups()), "")),
    "layers": lambda form, choices, control: form.one(control.id) or (choices.layer.name if choices.layer else ""),
    "rows": lambda form, choices, control: form.one(control.id),
    None: lambda form, choices, control: form.one(control.id, control.default),
}
"""Choices of a control → the value that it shows."""
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


def _default_field(name: str, fields: list[str]) -> str:
    return next((field for field in (name, "x") if field in fields), next(iter(fields), ""))
