"""Turns pydantic's errors into wrong places of a request, with JSON Pointers and suggestions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from unitrank_schemas.base import DIGEST, NAME
from unitrank_schemas.checks import excerpt, nearest
from unitrank_schemas.json_pointer import pointer
from unitrank_schemas.methods import METHODS
from unitrank_schemas.methods.base import RANKING_ID
from unitrank_schemas.problems import Invalid

Loc = Sequence[str | int]

MOST_ERRORS = 100
MOST_FIELDS = 8
"""Fields of an object that an error lists."""

NOT_AN_OBJECT = {"model_type", "model_attributes_type", "dict_type"}
"""pydantic's error types for a value that is not an object; their messages name Python types."""

CHARACTERS = "letters, digits, dots, dashes or underscores, and begin with a letter or a digit"
PATTERNS = {
    f"^{NAME}$": f"a name should have 1 to 128 {CHARACTERS}",
    f"^{NAME}(@{DIGEST})?$": f"a name should have 1 to 128 {CHARACTERS}; `@sha256:` and 64 hexadecimal digits may follow",
    RANKING_ID: f"an id should have 1 to 64 {CHARACTERS}",
}
"""Pattern of a string → the accepted strings in words."""

PYDANTIC_MESSAGE = re.compile(
    r"(?:Input|String|List|Dictionary|Value)( should .*?)(?: after validation, not \d+|, (?:unable to|got) .*)?$", re.S
)
"""A message of pydantic: it does not name the place, and ends with how pydantic read the value."""

DISCRIMINATORS = {"methods": "name", "clusters": "by", "baseline": "kind"}
"""Field of a job request → the field inside it that names the kind of object."""


def invalid_places(errors: Iterable[Mapping[str, Any]], body: Any, schema: Any) -> list[Invalid]:
    """One entry for each wrong place, made from the first 100 errors.

    `errors`: pydantic's list. `body`: the JSON value. `schema`: the type that it should have.
    """
    places: dict[str, list[Invalid]] = {}
    for error in islice(errors, MOST_ERRORS):
        source, *loc = error["loc"]
        place = _place_in_body(error, loc, body, schema) if source == "body" else _place_in_url(error, [source, *loc])
        places.setdefault(place.pointer, []).append(place)
    # pydantic reports an error for each branch of a union. The branch whose error is deepest is the
    # one that the client meant, so errors above another error are left out.
    shallow = {at for at in places for deeper in places if deeper.startswith(at + "/")}
    return [_joined(entries) for at, entries in places.items() if at not in shallow]


def _place_in_url(error: Mapping[str, Any], loc: Loc) -> Invalid:
    noun = {"path": "path parameter", "query": "parameter", "header": "header"}.get(str(loc[0]), "parameter")
    name, accepted, value = loc[-1], _accepted(error, "it"), error.get("input")
    detail = f"{noun} {name!r} is invalid: {accepted}, got {excerpt(value)}"
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
        subject, field = _subject(steps), error["ctx"]["discriminator"]
        detail = f"{subject} should be an object with the field {field}, got {excerpt(value)}"
        return Invalid(pointer=at, detail=detail, code="missing_field")
    subject = _subject(steps)
    accepted = f"{subject} should be an object{_with_fields(schema, loc)}" if kind in NOT_AN_OBJECT else _accepted(error, subject)
    return Invalid(pointer=at, detail=f"{accepted}, got {excerpt(value)}", code="invalid_request")


def _with_fields(schema: Any, loc: Loc) -> str:
    """The fields of an object inside the body, in words; empty for the body and for a choice of
    several objects.
    """
    fields = [repr(name) for name in _fields(schema, loc)] if loc else []
    if len(set(fields)) < len(fields):
        return ""
    listed = ", ".join(fields[:MOST_FIELDS]) + (", …" if len(fields) > MOST_FIELDS else "")
    return f" with the {'field' if len(fields) == 1 else 'fields'} {listed}" if fields else ""


def _unknown_kind(error: Mapping[str, Any], at: str, value: Any, in_method: bool) -> Invalid:
    field = error["ctx"]["discriminator"].strip("'")
    tag = str(error["ctx"]["tag"])[:100]
    if in_method:
        place = f"{at}/{field}" if isinstance(value, dict) else at
        return Invalid(pointer=place, detail=f"method {tag!r} not found{nearest(tag, METHODS)}", code="method_not_found")
    kinds = error["ctx"]["expected_tags"]
    detail = f"{field} {tag!r} is invalid; use one of {kinds}"
    return Invalid(pointer=f"{at}/{field}", detail=detail, code="invalid_request")


def _subject(steps: Sequence[str | int]) -> str:
    """The place of a value in words: `field 'seed'`, `entry 0 of 'methods'`, or `the body`."""
    if not steps:
        return "the body"
    if isinstance(steps[-1], int) and len(steps) > 1:
        return f"entry {steps[-1]} of {str(steps[-2])[:100]!r}"
    return f"field {str(steps[-1])[:100]!r}"


def _steps(loc: Loc, body: Any, kind: str) -> tuple[list[str | int], Any]:
    """The path in the body and the value there: pydantic's path without the names of branches."""
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
    """The union's branch that pydantic chose for the value; the next step of the path names it."""
    name = value.get(DISCRIMINATORS.get(str(first))) if isinstance(value, dict) else value
    return name if isinstance(name, str) and first in DISCRIMINATORS else None


def _fields(schema: Any, loc: Loc) -> list[str]:
    """The field names that the schema has at a place."""
    types = [schema]
    for step in loc:
        models = _models(types)
        inside = [field.annotation for model in models for name, field in model.model_fields.items() if step in (name, field.alias)]
        tagged = [model for model in models if _is_tagged(model, step) or model.__name__ == step]
        types = tagged or inside or types
    return [field.alias or name for model in _models(types) for name, field in model.model_fields.items()]


def _is_tagged(model: type[BaseModel], tag: str | int) -> bool:
    return any(get_args(field.annotation) == (tag,) for field in model.model_fields.values())


def _models(types: Iterable[Any]) -> list[type[BaseModel]]:
    """All schemas inside the annotations: in unions, lists, dicts and Annotated."""
    models: list[type[BaseModel]] = []
    for annotation in types:
        if get_origin(annotation) is Annotated:
            models += _models([get_args(annotation)[0]])
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and not get_args(annotation):
            models.append(annotation)
        elif get_origin(annotation) in (Union, list, dict) or get_args(annotation):
            models += _models(get_args(annotation))
    return models


def _joined(places: list[Invalid]) -> Invalid:
    if len(places) == 1:
        return places[0]
    details = list(dict.fromkeys(place.detail for place in places))
    return places[0].model_copy(update={"detail": "; or ".join(details)})


def _accepted(error: Mapping[str, Any], subject: str) -> str:
    """The accepted values: pydantic's message with the subject, or words for a name's pattern."""
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] in PATTERNS:
        return PATTERNS[error["ctx"]["pattern"]]
    text = str(error["msg"]).removeprefix("Value error, ")
    if message := PYDANTIC_MESSAGE.match(text):
        return subject + message[1]
    return text[:1].lower() + text[1:]
