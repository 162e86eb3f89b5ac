"""The value that each control of the form for a job shows."""

from collections.abc import Callable
from typing import Any

from unitrank_schemas.jobs.clusters import FormControl
from unitrank_service.web.job_form.choices import CLUSTERS, FormChoices, name_of
from unitrank_service.web.job_form.form import Form
from unitrank_service.web.job_form.option_texts import FILLS, OUTPUT_KINDS, OWN_BASELINES, REDUCTIONS, SPACINGS, STATISTICS
from unitrank_service.web.job_form.request_body import BASELINES, UNITS

Json = dict[str, Any]
PREFERRED = ("gradient:mean", "gradient:mean_abs", "conductance:mean")
"""Methods that a new form ticks, where they fit the layer."""


def control_values(form: Form, choices: FormChoices) -> Json:
    """The chosen value of each control if it is available, otherwise the default."""
    labels = choices.labels()
    label = form.chosen("labels", labels, "y" if "y" in labels else "")
    place = _place(form, choices)
    return {
        **place,
        **_methods(form, choices, place["at"]),
        **_clusters(form, choices, label),
        **_data(form, choices, label),
        **_target(form, choices, output=place["output"], label=label),
        **_baseline(form, choices),
        **_test_and_run(form),
    }


def _place(form: Form, choices: FormChoices) -> Json:
    """The layers, the side and the units. `heads`: the heads of the side as units; None without."""
    more_layers, at = form.one("more_layers"), form.chosen("at", choices.sides, "output")
    heads = choices.layer.head_units(at) if choices.layer else None
    return {
        # Without a layer of its own the job has those of the lines.
        "layer": "" if more_layers and not form.one("layer") else choices.layer.name if choices.layer else "",
        "more_layers": more_layers,
        "joint": bool(form.one("joint")),
        "at": at,
        "output": form.chosen("output", [port.name for port in choices.manifest.outputs] if choices.manifest else []),
        "heads": heads.model_dump() if heads else None,
        "units": form.chosen("units", [name for name in UNITS if name != "heads" or heads], "neuron"),
        "unit_axis": form.one("unit_axis", "-1"),
        "unit_groups": form.one("unit_groups"),
    }


def _methods(form: Form, choices: FormChoices, at: str) -> Json:
    entries = [f"{name_of(method)}:{statistic}" for method in choices.methods(at) for statistic in STATISTICS]
    default = [entry for entry in PREFERRED if entry in entries] or entries[:1]
    return {
        "methods": default if form.fresh else [entry for entry in form.many("method") if entry in entries],
        "steps": form.one("steps", "20"),
        "spacing": form.chosen("spacing", list(SPACINGS), ""),
        "given": form.one("given"),
        "given_name": form.one("given_name", "mine"),
        "made_on": form.chosen("made_on", ["none", *choices.booleans()]),
    }


def _clusters(form: Form, choices: FormChoices, label: str) -> Json:
    controls = [control for kind in CLUSTERS.values() for control in kind.controls]
    return {
        "by": form.chosen("by", list(CLUSTERS), "label" if label else "all"),
        **{control.id: SHOWN[control.choices](form, choices, control) for control in controls},
        "limit": form.one("limit"),
    }


def _data(form: Form, choices: FormChoices, label: str) -> Json:
    inputs = choices.inputs().items()
    return {
        "inputs": {name: form.chosen(f"input.{name}", fields, _default_field(name, fields)) for name, fields in inputs},
        "labels": label,
        "scale": form.one("scale", "1"),
        "mean": form.one("mean"),
        "std": form.one("std"),
    }


def _target(form: Form, choices: FormChoices, *, output: str, label: str) -> Json:
    default = "" if choices.logits(output) == 1 else "label" if label else "predicted"
    return {
        "class": form.one("class", default),
        "default_class": default,
        "against": form.one("against"),
        "score": form.one("score", "logit"),
        "reduce": form.chosen("reduce", list(REDUCTIONS), ""),
        "reduce_at": form.one("reduce_at"),
        "output_is": form.chosen("output_is", list(OUTPUT_KINDS), "logits"),
    }


def _baseline(form: Form, choices: FormChoices) -> Json:
    return {
        "baseline": form.chosen("baseline", list(BASELINES), "zeros"),
        "value": form.one("value", "0"),
        "baseline_field": form.chosen("baseline_field", choices.baselines(), next(iter(choices.baselines()), "")),
        "index": form.one("index", "0"),
        "count": form.one("count", "16"),
        "where": form.chosen("where", choices.booleans(), ""),
        "hold": form.one("hold"),
        "baselines": {name: form.chosen(f"baseline.{name}", list(OWN_BASELINES)) for name in choices.movable()},
    }


def _test_and_run(form: Form) -> Json:
    return {
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


def _default_field(name: str, fields: list[str]) -> str:
    return next((field for field in (name, "x") if field in fields), next(iter(fields), ""))


SHOWN: dict[str | None, Callable[[Form, FormChoices, FormControl], str]] = {
    "fields": lambda form, choices, control: form.chosen(control.id, choices.groups(), next(iter(choices.groups()), "")),
    "layers": lambda form, choices, control: form.one(control.id) or (choices.layer.name if choices.layer else ""),
    "rows": lambda form, choices, control: form.one(control.id),
    None: lambda form, choices, control: form.one(control.id, control.default),
}
"""Choices of a control → the value that it shows."""
