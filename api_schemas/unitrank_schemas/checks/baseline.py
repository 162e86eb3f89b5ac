"""Checks of the baseline: can its values replace the model's inputs?"""

from collections.abc import Callable, Iterator
from typing import Any

from unitrank_schemas.checks.inputs import fits
from unitrank_schemas.facts.facts import Facts, Flaw, kind_of, path_values
from unitrank_schemas.facts.fields import field_exists
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.baselines import BaselineField, ClusterMean, Constant, Example, Mean
from unitrank_schemas.models import Manifest, Port

LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}
"""dtype → its largest number. JSON's numbers can be larger."""


def baseline_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    check = BASELINES.get(type(request.baseline))
    if check is not None:
        yield from check(request.baseline, facts)


def _field(baseline: BaselineField, facts: Facts) -> Iterator[Flaw]:
    yield from field_exists("/baseline/field", baseline.field, facts)
    field = facts.fields.get(baseline.field) if facts.fields else None
    if facts.manifest is None or field is None:
        return
    port = baseline_input(facts.manifest)
    if port is None:
        count = len(facts.manifest.inputs)
        detail = (
            f"field {baseline.field!r} cannot be the baseline of a model with {count} inputs: a field needs one input that is "
            "real or looked up by embeddings; use zeros, a constant, a mean or an example"
        )
        yield Flaw("/baseline/field", "baseline_not_applicable", detail)
        return
    for flaw in fits("/baseline/field", baseline.field, field, port):
        yield Flaw(flaw.pointer, "baseline_shape" if flaw.code == "wrong_shape" else flaw.code, flaw.detail)


def _example(baseline: Example, facts: Facts) -> Iterator[Flaw]:
    if facts.fields is not None and baseline.index >= facts.examples:
        last = facts.examples - 1
        detail = f"row {baseline.index} does not exist; the dataset has rows 0 to {last}"
        yield Flaw("/baseline/index", "index_out_of_range", detail)


def _constant(baseline: Constant, facts: Facts) -> Iterator[Flaw]:
    yield from _needs_path(baseline, facts)
    for port in facts.manifest.inputs if facts.manifest else []:
        largest = LARGEST.get(port.dtype)
        if largest is not None and abs(baseline.value) > largest:
            detail = (
                f"{baseline.value:g} is too large for input {port.name!r}, which is {port.dtype}; use a number from "
                f"{-largest:.4g} to {largest:.4g}"
            )
            yield Flaw("/baseline/value", "out_of_range", detail)


def _needs_path(baseline: Constant | Mean | ClusterMean, facts: Facts) -> Iterator[Flaw]:
    if (
        facts.manifest is None
        or path_values(facts.manifest)
        or (isinstance(baseline, Constant) and baseline.value == int(baseline.value))
    ):
        return
    port = facts.manifest.inputs[0]
    detail = (
        f"baseline `{baseline.kind}` cannot replace input {port.name!r}, which is {port.dtype} and not looked up by an embedding; "
        "use `zeros`"
    )
    yield Flaw("/baseline", "baseline_not_applicable", detail)


def baseline_input(manifest: Manifest) -> Port | None:
    """The input that a baseline from a field replaces; None if no input or several inputs qualify.

    It is the only real input, else the only input that embeddings look up.
    """
    real = [port for port in manifest.inputs if kind_of(port.dtype) == "real"]
    chosen = real or [port for port in manifest.inputs if port.name in manifest.looked_up]
    return chosen[0] if len(chosen) == 1 else None


# Each function takes the class that is its key. The type of a dict cannot say so, hence Any.
BASELINES: dict[type[Any], Callable[[Any, Facts], Iterator[Flaw]]] = {
    Constant: _constant,
    Mean: _needs_path,
    ClusterMean: _needs_path,
    BaselineField: _field,
    Example: _example,
}
