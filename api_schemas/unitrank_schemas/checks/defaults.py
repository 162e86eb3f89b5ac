"""The defaults that depend on the rest of the request, the model or the dataset.

These are the rankings' ids, inputs, labels, output, class and `check_fill`, and the layers that a
pattern matches.
"""

from collections.abc import Callable, Mapping
from typing import Any

from unitrank_schemas.checks.layers import with_layers
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import Facts, class_count, example_count, kind_of, output_of
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import Method, PathMethod, with_ids


def completed(request: JobRequest, facts: Facts) -> JobRequest:
    """The request with the defaults that the facts decide; fields that the client set stay."""
    for default in DEFAULTS:
        changes = default(request, facts)
        if changes:
            request = request.model_copy(update=changes)
    return request if facts.manifest is None else with_layers(request, facts.manifest)


def _methods(request: JobRequest, facts: Facts) -> dict[str, Any]:
    return {"methods": with_ids(request.methods)}


def with_spacing(method: Method, request: JobRequest) -> Method:
    """The entry with its spacing; by default cubic if all baselines are zeros, else uniform.

    With a baseline of zeros most kinks of the network are close to α = 0. The request keeps an open
    spacing, because the job uses `adaptive` where the default does not resolve the paths.
    """
    if isinstance(method, PathMethod) and method.spacing is None:
        kinds = {baseline.kind for baseline in (request.baseline, *request.baseline.inputs.values())}
        return method.model_copy(update={"spacing": "cubic" if kinds == {"zeros"} else "uniform"})
    return method


def _labels(request: JobRequest, facts: Facts) -> dict[str, Any]:
    # A `y` of real numbers is the target of a regression. Its values are not classes.
    if request.labels is None and facts.fields and can_label(facts.fields.get("y")):
        return {"labels": "y"}
    return {}


def _inputs(request: JobRequest, facts: Facts) -> dict[str, Any]:
    if facts.manifest is None or facts.fields is None:
        return {}
    ports = [port.name for port in facts.manifest.inputs]
    fields = {name: name for name in ports if name in facts.fields}
    if not fields and len(ports) == 1 and "x" in facts.fields:
        fields = {ports[0]: "x"}
    return {"inputs": fields | (request.inputs or {})}


def _output(request: JobRequest, facts: Facts) -> dict[str, Any]:
    first = facts.manifest.outputs[:1] if facts.manifest else []
    return {"output": first[0].name} if request.output is None and first else {}


def _class(request: JobRequest, facts: Facts) -> dict[str, Any]:
    output = output_of(request, facts.manifest) if facts.manifest else None
    if output is None or facts.fields is None or request.target.class_ is not None or class_count(request, output) is None:
        return {}
    return {"target": request.target.model_copy(update={"class_": "label" if request.labels else "predicted"})}


def _check_fill(request: JobRequest, facts: Facts) -> dict[str, Any]:
    # A job with one example cannot take values from another example: its default becomes null.
    # An explicit `resample` is an error there (`study.resample_has_others`).
    ablation = request.ablation
    if ablation is None or facts.fields is None or "check_fill" in ablation.model_fields_set:
        return {}
    has_no_other = ablation.check_fill == "resample" and example_count(request, facts) < 2
    repeats_fill = ablation.check_fill == ablation.fill
    return {"ablation": ablation.model_copy(update={"check_fill": None})} if has_no_other or repeats_fill else {}


def can_label(field: FieldInfo | None) -> bool:
    """Whether the field can hold labels: one integer or boolean for each row."""
    return field is not None and len(field.shape) == 1 and kind_of(field.dtype) in ("integer", "boolean")


DEFAULTS: list[Callable[[JobRequest, Facts], Mapping[str, Any]]] = [_methods, _labels, _inputs, _output, _class, _check_fill]
"""The order matters: later functions read the fields that earlier functions filled in."""
