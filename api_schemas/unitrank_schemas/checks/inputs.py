"""Checks of the inputs: does each input have a field whose shape and type fit?"""

from collections.abc import Iterator

from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.facts.facts import Facts, Flaw, Kind, kind_of
from unitrank_schemas.facts.fields import field_exists
from unitrank_schemas.facts.wording import excerpt, nearest, shape_text
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.json_pointer import escaped
from unitrank_schemas.models import Port

CASTS: dict[Kind, frozenset[Kind]] = {
    "real": frozenset({"real", "integer", "boolean"}),
    "integer": frozenset({"integer", "boolean"}),
    "boolean": frozenset({"boolean"}),
    "text": frozenset(),
}
"""Kind of an input → kinds of fields whose values keep their meaning when they are cast to it."""


def inputs_exist(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """Every key of `inputs` must be an input of the model, every value a field of the dataset."""
    ports = [port.name for port in facts.manifest.inputs] if facts.manifest else None
    for name, field in (request.inputs or {}).items():
        at = f"/inputs/{escaped(name)}"
        if ports is not None and name not in ports:
            yield Flaw(at, "input_not_found", f"the model has no input {name!r}{nearest(name, ports)}")
        yield from field_exists(at, field, facts)


def inputs_are_fed(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if facts.manifest is None or facts.fields is None:
        return
    for port in facts.manifest.inputs:
        if port.name not in (request.inputs or {}):
            fields = ", ".join(map(repr, facts.fields))
            detail = f"the model's input {port.name!r} has no field; set `inputs` with one of {fields}"
            yield Flaw("/inputs", "input_missing", detail)


def inputs_fit(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    for port in facts.manifest.inputs if facts.manifest else []:
        name = (request.inputs or {}).get(port.name)
        field = facts.fields.get(name) if facts.fields and name is not None else None
        if name is not None and field is not None:
            yield from fits(f"/inputs/{escaped(port.name)}", name, field, port)


def preprocess_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """Lists must have one number for each index of axis 1 of real inputs; `std` must not be 0."""
    ports = [port for port in facts.manifest.inputs if kind_of(port.dtype) == "real"] if facts.manifest else []
    for part, default in (("scale", 1.0), ("mean", None), ("std", None)):
        value = getattr(request.preprocess, part)
        at = f"/preprocess/{part}"
        if facts.manifest and not ports and value != default:
            detail = f"{part} {excerpt(value)} applies to real inputs, but the model has no real input; leave {part} out"
            yield Flaw(at, "invalid_preprocess", detail)
        if part == "std" and 0 in (value if isinstance(value, list) else [value]):
            yield Flaw(at, "invalid_preprocess", f"std {excerpt(value)} has a 0; every std must differ from 0")
        for port in ports if isinstance(value, list) else []:
            size = port.shape[1] if len(port.shape) > 1 else None
            if size is None and len(port.shape) > 1:
                continue
            if size != len(value):
                target = f"input {port.name!r} {shape_text(port.shape)}"
                advice = f"axis 1 of {target} has size {size}; use {size}" if size else f"{target} has no axis 1; use one number"
                yield Flaw(at, "wrong_shape", f"{part} has {len(value)} numbers, but {advice}")


def fits(at: str, name: str, field: FieldInfo, port: Port) -> Iterator[Flaw]:
    """Flaws at the pointer `at` if the field's shape or type does not fit the input."""
    same = len(field.shape) == len(port.shape) and all(
        accepted is None or size == accepted for size, accepted in zip(field.shape[1:], port.shape[1:], strict=True)
    )
    if not same:
        detail = f"field {name!r} has shape {shape_text(field.shape)}; input {port.name!r} takes {shape_text(port.shape)}"
        yield Flaw(at, "wrong_shape", detail)
    if kind_of(field.dtype) not in CASTS[kind_of(port.dtype)]:
        yield Flaw(at, "wrong_dtype", f"field {name!r} is {field.dtype}; input {port.name!r} takes {port.dtype}")
