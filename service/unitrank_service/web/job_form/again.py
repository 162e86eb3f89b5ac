"""The form with the values of an earlier job's request."""

import json
from collections.abc import Callable
from typing import Any

from unitrank_schemas.checks import RequestRejected
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import METHODS
from unitrank_service.errors import HttpProblem
from unitrank_service.web.job_form.choices import CLUSTERS, FormChoices
from unitrank_service.web.job_form.control_values import control_values
from unitrank_service.web.job_form.form import Form
from unitrank_service.web.job_form.layer_lines import controls_of
from unitrank_service.web.job_form.member_lines import lines_of
from unitrank_service.web.job_form.option_texts import STATISTICS
from unitrank_service.web.job_form.request_body import FIXED, checked_shape, request_body
from unitrank_service.web.snippets import short

Json = dict[str, Any]


def form_again(request: Json, choices: FormChoices, complete: Callable[[JobRequest], JobRequest]) -> Form:
    """The form that makes an equal request.

    Controls show what they can; every other field of the request is in `more`, as JSON.
    `complete`: returns a request with the defaults that depend on model and dataset. It may raise
    HttpProblem or RequestRejected.
    """
    layers = [layer.name for layer in choices.manifest.layers] if choices.manifest else []
    values_of_all = _fields(request) | {name: [text] for name, text in controls_of(request["layer"], layers).items()}
    fields = {name: values for name, values in values_of_all.items() if values != [""]}
    further = _further(request, Form(fields), choices, complete)
    text = json.dumps(further, indent=2, ensure_ascii=False) if further else ""
    return Form(fields | {"more": [text]})


def _fields(request: Json) -> dict[str, list[str]]:
    """Control → its values."""
    target, baseline, ablation = request["target"], request["baseline"], request["ablation"]
    reduce = target["reduce"]
    path: Json = next((entry for entry in request["methods"] if "steps" in entry), {})
    values = {
        **{name: request[name] for name in ("model", "dataset", "at", "output", "labels", "keep_examples", "seed", "priority")},
        **_units(request["units"]),
        **{name: path.get(name) for name in ("steps", "spacing")},
        **_clusters(request["clusters"]),
        **{f"input.{name}": field for name, field in (request["inputs"] or {}).items()},
        **request["preprocess"],
        **{name: target[name] for name in ("class", "score", "output_is", "against")},
        "reduce": "at" if isinstance(reduce, dict) else reduce,
        "reduce_at": reduce["at"] if isinstance(reduce, dict) else None,
        "baseline": baseline["kind"],
        "value": baseline.get("value"),
        "baseline_field": baseline.get("field"),
        **{name: baseline.get(name) for name in ("index", "count", "where")},
        "hold": baseline["hold"],
        **{f"baseline.{name}": entry["kind"] for name, entry in baseline["inputs"].items()},
        "joint": "on" if request.get("joint") else None,
        "ablation": "on" if ablation else None,
        **{name: (ablation or {}).get(name) for name in ("fill", "random", "examples")},
        "fidelity": "on" if request["fidelity"] else None,
    }
    chosen = {f"{entry['name']}:{entry.get('statistic', 'mean')}" for entry in request["methods"]}
    # A browser sends ticked boxes in the order of the page.
    boxes = [f"{method}:{statistic}" for method in METHODS for statistic in STATISTICS]
    return {name: [_text(value)] for name, value in values.items()} | {"method": [box for box in boxes if box in chosen]}


def _units(units: Any) -> Json:  # Any: a JSON value
    if not isinstance(units, dict):
        return {"units": units}
    field = "groups" if "groups" in units else "labels"
    return {"units": field, "unit_axis": units["axis"], "unit_groups": units[field]}


def _clusters(clusters: Json) -> Json:
    kind = CLUSTERS.get(clusters["by"])
    controls = kind.controls if kind else ()
    typed = {control.id: clusters[control.field] for control in controls}
    lines = {control.id: lines_of(clusters[control.field]) for control in controls if control.choices == "rows"}
    return {"by": clusters["by"], "limit": clusters.get("limit"), **typed, **lines}


def _text(value: Any) -> str:
    """The value as the user would type it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _further(request: Json, form: Form, choices: FormChoices, complete: Callable[[JobRequest], JobRequest]) -> Json:
    """The fields of the request in which the request of the controls differs."""
    earlier = _plain(JobRequest.model_validate(request))
    try:
        body = _plain(complete(checked_shape(request_body(control_values(form, choices), choices))))
    except (HttpProblem, RequestRejected):
        body = {}
    shortened = short(request)
    return {name: shortened.get(name, value) for name, value in earlier.items() if name not in FIXED and body.get(name) != value}


def _plain(request: JobRequest) -> Json:
    return request.model_dump(mode="json", by_alias=True)
