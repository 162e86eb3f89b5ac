"""The defaults that depend on the rest of the request, the model and the dataset: ids, spacing, inputs, labels, output, class."""

from collections.abc import Callable, Mapping
from typing import Any

from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import Facts, class_count, example_count, kind_of, output_of
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import Method, PathMethod, with_ids


def completed(request: JobRequest, facts: Facts) -> JobRequest:
    """The request with every default filled in that the facts decide; what was given stays."""
    for fill in DEFAULTS:
        changes = fill(request, facts)
        if changes:
            request = request.model_copy(update=changes)
    return request


def _methods(request: JobRequest, facts: Facts) -> dict[str, Any]:
    return {"methods": [with_spacing(method, request) for method in with_ids(request.methods)]}


def with_spacing(method: Method, request: JobRequest) -> Method:
    """The entry with its spacing decided: cubic where the baseline is zeros, because kinks crowd near α = 0 there."""
    if isinstance(method, PathMethod) and method.spacing is None:
        return method.model_copy(update={"spacing": "cubic" if request.baseline.kind == "zeros" else "uniform"})
    return method


def _labels(request: JobRequest, facts: Facts) -> dict[str, Any]:
    # A `y` of real numbers is what a regression was trained on, and names no classes.
    if request.labels is None and facts.fields and can_label(facts.fields.get("y")):
        return {"labels": "y"}
    return {}


def _inputs(request: JobRequest, facts: Facts) -> dict[str, Any]:
    if facts.manifest is None or facts.fields is None:
        return {}
    ports = [port.name for port in facts.manifest.inputs]
    found = {name: name for name in ports if name in facts.fields}
    if not found and len(ports) == 1 and "x" in facts.fields:
        found = {ports[0]: "x"}
    return {"inputs": found | (request.inputs or {})}


def _output(request: JobRequest, facts: Facts) -> dict[str, Any]:
    first = facts.manifest.outputs[:1] if facts.manifest else []
    return {"output": first[0].name} if request.output is None and first else {}


def _class(request: JobRequest, facts: Facts) -> dict[str, Any]:
    output = output_of(request, facts.manifest) if facts.manifest else None
    if output is None or facts.fields is None or request.target.class_ is not None or class_count(output) is None:
        return {}
    return {"target": request.target.model_copy(update={"class_": "label" if request.labels else "predicted"})}


def _check_fill(request: JobRequest, facts: Facts) -> dict[str, Any]:
    # One example has no other whose value it could get; asked for in so many words it is a flaw instead.
    ablation = request.ablation
    if ablation is None or facts.fields is None or "check_fill" in ablation.model_fields_set:
        return {}
    one = ablation.check_fill == "resample" and example_count(request, facts) < 2
    same = ablation.check_fill == ablation.fill
    return {"ablation": ablation.model_copy(update={"check_fill": None})} if one or same else {}


def can_label(field: FieldInfo | None) -> bool:
    """Whether a field's values are class numbers."""
    return field is not None and len(field.shape) == 1 and kind_of(field.dtype) in ("integer", "boolean")


DEFAULTS: list[Callable[[JobRequest, Facts], Mapping[str, Any]]] = [_methods, _labels, _inputs, _output, _class, _check_fill]
"""In this order: a later one reads what an earlier one filled in."""
