"""Names of the options that a request uses, by which an older worker sees that it lacks one.

The name of an option is its field's name, after the name of the field that holds its schema, such
as `ablation.random` or `methods.steps`. The name of a field with fixed values has the value too,
such as `methods.name=conductance`.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from unitrank_schemas.base import Schema
from unitrank_schemas.jobs.request import WILDCARD, JobRequest

SHARDS = "dataset.format=shards"
"""Name of a form of the data, which a worker must know like an option."""
LAYERS = "layer=list"
"""Name of several layers in one request, which older workers know as one layer only."""


def chosen_options(request: JobRequest) -> list[str]:
    """Return the names of the options whose values are not their defaults."""
    has_layers = isinstance(request.layer, list) or WILDCARD in request.layer
    return sorted({*_chosen(request, ""), *([LAYERS] if has_layers else [])})


@cache
def known_options() -> frozenset[str]:
    """Return the names of all options and forms of data that this version knows."""
    # Schemas may contain themselves: each is read once for each field that holds it.
    waiting: list[tuple[type[Schema], str]] = [(JobRequest, "")]
    names, read = {SHARDS, LAYERS}, set[tuple[type[Schema], str]]()
    while waiting:
        schema, holder = place = waiting.pop()
        if place in read:
            continue
        read.add(place)
        for name, field, values in _fields(schema):
            names |= {f"{holder}{name}", *(f"{holder}{name}={value}" for value in values)}
            waiting += [(inner, f"{name}.") for inner in _schemas(field.annotation)]
    return frozenset(names)


def _chosen(value: object, holder: str) -> Iterator[str]:
    """Yield the names of a value that the field `holder` holds; `holder` ends with a dot."""
    if isinstance(value, list | tuple | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _chosen(inner, holder)
    if not isinstance(value, Schema):
        return
    for name, field, values in _fields(type(value)):
        chosen = getattr(value, name)
        # A field with one fixed value names the kind of its schema, although that is its default.
        if chosen != field.get_default(call_default_factory=True) or values == [chosen]:
            yield f"{holder}{name}={chosen}" if chosen in values else f"{holder}{name}"
            yield from _chosen(chosen, f"{name}.")


@cache
def _fields(schema: type[Schema]) -> Sequence[tuple[str, FieldInfo, list[Any]]]:
    """Return name, field and fixed values of each field of a schema."""
    return [(name, field, _fixed_values(field.annotation)) for name, field in schema.model_fields.items()]


# Any: an annotation may be any object.
def _fixed_values(annotation: Any) -> list[Any]:
    """Return the values of all `Literal`s in an annotation."""
    parts = get_args(annotation)
    return list(parts) if get_origin(annotation) is Literal else [value for part in parts for value in _fixed_values(part)]


def _schemas(annotation: Any) -> list[type[Schema]]:
    """Return the schemas in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Schema):
        return [annotation]
    return [schema for part in get_args(annotation) for schema in _schemas(part)]
