"""Checks of the baseline: can its values replace the model's inputs?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unitrank_schemas.checks.inputs import fits
from unitrank_schemas.facts.facts import Facts, Flaw, example_count, kind_of, layer_named
from unitrank_schemas.facts.fields import field_exists
from unitrank_schemas.facts.wording import nearest, shape_text
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.baselines import (
    Baseline,
    BaselineField,
    ClusterMean,
    Constant,
    DrawnExamples,
    Example,
    Mean,
    axis_of_channels,
    baseline_of,
)
from unitrank_schemas.json_pointer import escaped
from unitrank_schemas.models import Manifest, Port

LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}
"""dtype → its largest number. JSON's numbers can be larger."""


@dataclass(frozen=True)
class PathValue:
    """A value that a baseline replaces: a real input, or an embedding of integer inputs.

    `inputs`: the model's inputs that the value is computed from.
    """

    name: str
    inputs: list[str]
    looked_up: bool


def path_of(manifest: Manifest) -> list[PathValue]:
    """The values that a baseline replaces."""
    real = [port.name for port in manifest.inputs if kind_of(port.dtype) == "real"]
    names = list(dict.fromkeys(real if manifest.path is None else manifest.path))
    sources = manifest.path_inputs or {}
    return [
        PathValue(name, [name] if name in real else sources.get(name, manifest.looked_up), looked_up=name not in real)
        for name in names
    ]


def baseline_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    baseline = request.baseline
    flaws = [*_names(baseline, facts), *_nested(baseline)]
    yield from flaws
    if flaws:
        return
    values = path_of(facts.manifest) if facts.manifest else []
    if values and all(baseline_of(baseline, value.name, value.inputs) is None for value in values):
        names = ", ".join(repr(value.name) for value in values)
        detail = f"all values that can change are held ({names}), so nothing leads from the baseline to x; hold fewer inputs"
        yield Flaw("/baseline/hold", "baseline_not_applicable", detail)
    objects = {"/baseline": baseline} | {f"/baseline/inputs/{escaped(name)}": each for name, each in baseline.inputs.items()}
    for at, each in objects.items():
        check = BASELINES.get(type(each))
        governed = [value for value in values if baseline_of(baseline, value.name, value.inputs) is each]
        if check is not None and (governed or each is baseline):
            yield from check(each, at, governed, facts)
    yield from _drawn_fit(objects, request, facts)


def _names(baseline: Baseline, facts: Facts) -> Iterator[Flaw]:
    """Flaws of names that are not inputs or embeddings, and of inputs that cannot change."""
    held = {f"/baseline/hold/{index}": name for index, name in enumerate(baseline.hold)}
    own = {f"/baseline/inputs/{escaped(name)}": name for name in baseline.inputs}
    for at, name in own.items():
        if name in baseline.hold:
            yield Flaw(at, "invalid_request", f"input {name!r} is in `hold` and in `inputs`; name it in one of them")
    if facts.manifest is None:
        return
    ports, values = [port.name for port in facts.manifest.inputs], path_of(facts.manifest)
    names = list(dict.fromkeys([*ports, *(value.name for value in values)]))
    moving = {name for value in values for name in (value.name, *value.inputs)}
    for at, name in (held | own).items():
        if name not in names:
            detail = f"the model has no input or embedding {name!r}{nearest(name, names)}"
            yield Flaw(at, "input_not_found", detail)
        elif at in own and name not in moving:
            detail = (
                f"input {name!r} keeps its value, because it is not real and no embedding looks it up; leave it out of "
                "`baseline.inputs`"
            )
            yield Flaw(at, "baseline_not_applicable", detail)


def _nested(baseline: Baseline) -> Iterator[Flaw]:
    for name, own in baseline.inputs.items():
        for part in ("hold", "inputs"):
            if getattr(own, part):
                detail = f"the baseline of input {name!r} has its own `{part}`; name all inputs in `baseline.{part}`"
                yield Flaw(f"/baseline/inputs/{escaped(name)}/{part}", "invalid_request", detail)


def _field(baseline: BaselineField, at: str, governed: list[PathValue], facts: Facts) -> Iterator[Flaw]:
    yield from field_exists(f"{at}/field", baseline.field, facts)
    field = facts.fields.get(baseline.field) if facts.fields else None
    if facts.manifest is None or field is None:
        return
    port = baseline_input(facts.manifest, governed)
    if port is None:
        count = len(facts.manifest.inputs)
        detail = (
            f"field {baseline.field!r} cannot be the baseline of a model with {count} inputs: a field needs one input that is "
            "real or looked up by embeddings; give each input its field in `baseline.inputs`, or name the others in `baseline.hold`"
        )
        yield Flaw(f"{at}/field", "baseline_not_applicable", detail)
        return
    for flaw in fits(f"{at}/field", baseline.field, field, port):
        yield Flaw(flaw.pointer, "baseline_shape" if flaw.code == "wrong_shape" else flaw.code, flaw.detail)


def _example(baseline: Example, at: str, governed: list[PathValue], facts: Facts) -> Iterator[Flaw]:
    if facts.fields is not None and baseline.index >= facts.examples:
        last = facts.examples - 1
        detail = f"row {baseline.index} does not exist; the dataset has rows 0 to {last}"
        yield Flaw(f"{at}/index", "index_out_of_range", detail)


def _drawn_fit(objects: Mapping[str, Baseline], request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """Flaws of the rows that are drawn. `objects`: pointer → baseline."""
    drawn = {at: each for at, each in objects.items() if isinstance(each, DrawnExamples)}
    for at, each in drawn.items():
        count, first = each.count, next(iter(drawn.values())).count
        if count != first:
            detail = f"this baseline draws {count} rows, and that of other inputs {first}; use the same `count` for all inputs"
            yield Flaw(f"{at}/count", "invalid_request", detail)
        if each.where is not None:
            yield from _marked(at, each.where, count, facts)
        elif facts.fields is not None and example_count(request, facts) < count:
            available = example_count(request, facts)
            detail = f"{count} rows cannot be drawn from the job's {available} examples; use a smaller `count`, or more examples"
            yield Flaw(f"{at}/count", "too_few_examples", detail)


def _marked(at: str, where: str, count: int, facts: Facts) -> Iterator[Flaw]:
    """Flaws of the field that marks the rows to draw from."""
    yield from field_exists(f"{at}/where", where, facts)
    field = facts.fields.get(where) if facts.fields else None
    if field is None:
        return
    needed = "`where` needs one boolean for each row, true in the rows to draw from, shape [N]"
    if len(field.shape) != 1:
        yield Flaw(f"{at}/where", "wrong_shape", f"field {where!r} has shape {shape_text(field.shape)}; {needed}")
    elif kind_of(field.dtype) != "boolean":
        yield Flaw(f"{at}/where", "wrong_dtype", f"field {where!r} is {field.dtype}; {needed}")
    else:
        marked = facts.true_rows(where)
        if marked is not None and marked < count:
            detail = (
                f"{count} rows cannot be drawn where field {where!r} is true, because it is true in {marked}; use a smaller "
                "`count`, or a field that is true in more rows"
            )
            yield Flaw(f"{at}/{'count' if marked else 'where'}", "too_few_examples", detail)


def _constant(baseline: Constant, at: str, governed: list[PathValue], facts: Facts) -> Iterator[Flaw]:
    yield from _needs_path(baseline, at, governed, facts)
    yield from _channels_fit(baseline, at, governed, facts)
    numbers = baseline.value if isinstance(baseline.value, list) else [baseline.value]
    number = max(numbers, key=abs)
    names = {value.name for value in governed if not value.looked_up}
    for port in facts.manifest.inputs if facts.manifest else []:
        largest = LARGEST.get(port.dtype)
        if port.name in names and largest is not None and abs(number) > largest:
            detail = (
                f"{number:g} is too large for input {port.name!r}, which is {port.dtype}; use a number from "
                f"{-largest:.4g} to {largest:.4g}"
            )
            yield Flaw(f"{at}/value", "out_of_range", detail)


def _channels_fit(baseline: Constant, at: str, governed: list[PathValue], facts: Facts) -> Iterator[Flaw]:
    """Flaws of values for which the list has the wrong length."""
    if not isinstance(baseline.value, list) or facts.manifest is None:
        return
    count = len(baseline.value)
    for value in governed:
        shape = _shape_of(value, facts.manifest)
        if shape is not None and axis_of_channels(shape, count, looked_up=value.looked_up) is None:
            what = f"{'embedding' if value.looked_up else 'input'} {value.name!r} {shape_text(shape)}"
            axes = "its last axis" if value.looked_up else "axis 1 or of the last axis"
            detail = (
                f"value has {count} numbers, but {what} needs one for each index of {axes}; use one number, or `baseline.inputs`"
            )
            yield Flaw(f"{at}/value", "baseline_shape", detail)


def _shape_of(value: PathValue, manifest: Manifest) -> list[int | None] | None:
    if not value.looked_up:
        return next(port.shape for port in manifest.inputs if port.name == value.name)
    layer = layer_named(value.name, manifest)
    return None if layer is None else [None, *layer.shape]


def _needs_path(
    baseline: Constant | Mean | ClusterMean | DrawnExamples, at: str, governed: list[PathValue], facts: Facts
) -> Iterator[Flaw]:
    if facts.manifest is None or path_of(facts.manifest):
        return
    if isinstance(baseline, Constant) and not isinstance(baseline.value, list) and baseline.value == int(baseline.value):
        return
    port = facts.manifest.inputs[0]
    detail = (
        f"baseline `{baseline.kind}` cannot replace input {port.name!r}, which is {port.dtype} and not looked up by an embedding; "
        "use `zeros`"
    )
    yield Flaw(at, "baseline_not_applicable", detail)


def baseline_input(manifest: Manifest, governed: list[PathValue]) -> Port | None:
    """The input that a baseline from a field replaces; None if no input or several inputs qualify.

    It is the only real input among those that have this baseline, else the only input that
    embeddings look up.
    """
    real = [value.name for value in governed if not value.looked_up]
    names = set(real or [name for value in governed for name in value.inputs])
    chosen = [port for port in manifest.inputs if port.name in names]
    return chosen[0] if len(chosen) == 1 else None


# Each function takes the class that is its key. The type of a dict cannot say so, hence Any.
BASELINES: dict[type[Any], Callable[[Any, str, list[PathValue], Facts], Iterator[Flaw]]] = {
    Constant: _constant,
    Mean: _needs_path,
    ClusterMean: _needs_path,
    BaselineField: _field,
    Example: _example,
    DrawnExamples: _needs_path,
}
