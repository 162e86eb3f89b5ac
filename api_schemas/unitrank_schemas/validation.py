"""Pydantic's complaints as places of the body: JSON Pointers, the names of the contract, the nearest right word."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from unitrank_schemas.checks import nearest, shown
from unitrank_schemas.json_pointer import pointer
from unitrank_schemas.methods import METHODS
from unitrank_schemas.problems import Invalid

Loc = Sequence[str | int]

MOST_ERRORS = 100

NO_OBJECT = {"model_type", "model_attributes_type", "dict_type"}
"""Pydantic's types of error whose words speak of Python."""

DISCRIMINATORS = {"methods": "name", "clusters": "by", "baseline": "kind"}
"""Field of a job request → the field that says which kind of object it is."""


def invalid_places(errors: Iterable[Mapping[str, Any]], body: Any, schema: Any) -> list[Invalid]:
    """One entry a place, of the first hundred errors; `errors` is pydantic's list, `schema` what the body was read as."""
    places: dict[str, list[Invalid]] = {}
    for error in islice(errors, MOST_ERRORS):
        source, *loc = error["loc"]
        place = _place_in_body(error, loc, body, schema) if source == "body" else _place_in_url(error, [source, *loc])
        places.setdefault(place.pointer, []).append(place)
    # Where a union was tried branch by branch, the branch that came further is what was meant.
    shallow = {at for at in places for other in places if other.startswith(at + "/")}
    return [_joined(found) for at, found in places.items() if at not in shallow]


def _place_in_url(error: Mapping[str, Any], loc: Loc) -> Invalid:
    named = {"path": "name", "query": "parameter", "header": "header"}.get(str(loc[0]), "parameter")
    detail = f"{named} {loc[-1]!r}: {_lower(error['msg'])}, got {shown(error.get('input'))}"
    return Invalid(pointer=pointer(*loc), detail=detail, code="invalid_name" if loc[0] == "path" else "invalid_parameter")


def _place_in_body(error: Mapping[str, Any], loc: Loc, body: Any, schema: Any) -> Invalid:
    kind = error["type"]
    steps, value = _steps(loc, body, kind)
    at = pointer(*steps)
    in_method = len(steps) >= 2 and steps[0] == "methods"
    if kind == "extra_forbidden":
        word = "option" if in_method else "field"
        detail = f"unknown {word} {str(steps[-1])[:100]!r}{nearest(str(steps[-1]), _fields(schema, loc[:-1]))}"
        return Invalid(pointer=at, detail=detail, code=f"unknown_{word}")
    if kind == "missing":
        detail = f"the field {steps[-1]!r} is missing" if steps else "the body is missing"
        return Invalid(pointer=at, detail=detail, code="missing_field")
    if kind == "union_tag_invalid":
        return _unknown_kind(error, at, value, in_method)
    if kind == "union_tag_not_found":
        detail = f"an object with the field {error['ctx']['discriminator']} belongs here, got {shown(value)}"
        return Invalid(pointer=at, detail=detail, code="missing_field")
    wrong = "an object belongs here" if kind in NO_OBJECT else _lower(error["msg"])
    return Invalid(pointer=at, detail=f"{wrong}, got {shown(value)}", code="invalid_request")


def _unknown_kind(error: Mapping[str, Any], at: str, value: Any, in_method: bool) -> Invalid:
    field = error["ctx"]["discriminator"].strip("'")
    tag = str(error["ctx"]["tag"])[:100]
    by_hand = isinstance(value, str) or not isinstance(value, dict)
    if in_method:
        place = at if by_hand else f"{at}/{field}"
        return Invalid(pointer=place, detail=f"method {tag!r} not found{nearest(tag, METHODS)}", code="method_not_found")
    return Invalid(
        pointer=f"{at}/{field}", detail=f"{field} {tag!r} is not one of {error['ctx']['expected_tags']}", code="invalid_request"
    )


def _steps(loc: Loc, body: Any, kind: str) -> tuple[list[str | int], Any]:
    """The path in the body and what lies there: pydantic's path without the names of a union's branches."""
    steps: list[str | int] = []
    value = body
    tag = None
    for number, step in enumerate(loc):
        if tag is not None and step == tag:
            tag = None
            continue
        keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if step in keys:
            value = value[step]
            tag = _tag(steps[0] if steps else step, value)
        elif not (kind == "missing" and number == len(loc) - 1):
            continue
        steps.append(step)
    return steps, value


def _tag(first: str | int, value: Any) -> str | None:
    """What pydantic will put into the path next: which branch of a union it took for this object."""
    found = value.get(DISCRIMINATORS.get(str(first))) if isinstance(value, dict) else value
    return found if isinstance(found, str) and first in DISCRIMINATORS else None


def _fields(schema: Any, loc: Loc) -> list[str]:
    """The names that are right at a place."""
    types = [schema]
    for step in loc:
        models = _models(types)
        inside = [field.annotation for model in models for name, field in model.model_fields.items() if step in (name, field.alias)]
        tagged = [model for model in models if _is_tagged(model, step)]
        types = tagged or inside or types
    return [field.alias or name for model in _models(types) for name, field in model.model_fields.items()]


def _is_tagged(model: type[BaseModel], tag: str | int) -> bool:
    return any(get_args(field.annotation) == (tag,) for field in model.model_fields.values())


def _models(types: Iterable[Any]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for annotation in types:
        if get_origin(annotation) is Annotated:
            found += _models([get_args(annotation)[0]])
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and not get_args(annotation):
            found.append(annotation)
        elif get_origin(annotation) in (Union, list, dict) or get_args(annotation):
            found += _models(get_args(annotation))
    return found


def _joined(places: list[Invalid]) -> Invalid:
    if len(places) == 1:
        return places[0]
    details = list(dict.fromkeys(place.detail for place in places))
    return places[0].model_copy(update={"detail": "; or ".join(details)})


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
