"""How inputs and outputs are nested: tuple, list and dict only.

torch imports the modules that other containers (named tuples, dataclasses, enums, default dicts) name in the text. What of
them comes out of a model is written anew as the plain container with the same contents and names; the class is forgotten.
"""

import json
import re
from typing import NoReturn

from pydantic import TypeAdapter, ValidationError

from unitrank_engine.archive.description.names import ArchiveSchema, Items, is_identifier
from unitrank_engine.archive.errors import ArchiveError, shown

_DEPTH = 32
_LENGTH = 1 << 20
_KEY = re.compile(r"[\w .:@/-]{1,200}")
_SEQUENCES = ("builtins.tuple", "builtins.list")


class _Spec(ArchiveSchema):
    type: str | None
    context: str | None
    children_spec: Items["_Spec"]


_SAVED = TypeAdapter(tuple[int, _Spec])
_KEYS = TypeAdapter(list[str])
_NAMES = TypeAdapter(list[str] | tuple[list[str], list[str]])
"""As ordered dicts and transformers' outputs have them; or a dataclass's fields that hold something, and those that are None."""


def check_outputs(text: str) -> str:
    """The nesting of the outputs, written anew."""
    return json.dumps([1, _checked(_plain(_parsed(text), _DEPTH), _DEPTH)])


def check_inputs(text: str) -> str:
    """The nesting of (arguments, keyword arguments), written anew."""
    spec = _parsed(text)
    checked = _checked(spec, _DEPTH)
    pair = [child.type for child in spec.children_spec]
    if spec.type != "builtins.tuple" or pair != ["builtins.tuple", "builtins.dict"]:
        _refuse("inputs", text)
    # Keyword arguments become parameters in the code that torch generates.
    if not all(is_identifier(key) for key in _keys(spec.children_spec[1])):
        _refuse("keyword arguments", text)
    return json.dumps([1, checked])


def _refuse(what: str, got: object) -> NoReturn:
    raise ArchiveError(
        "container_refused",
        f"{what} {shown(got)}: expected tuples, lists and dicts with plain string keys; let forward take and return those",
    )


def _parsed(text: str) -> _Spec:
    if len(text) > _LENGTH:
        _refuse("container", f"described by {len(text)} characters")
    try:
        version, spec = _SAVED.validate_json(text, strict=True)
    except ValidationError:
        _refuse("container", text)
    if version != 1:
        _refuse("container", text)
    return spec


def _plain(spec: _Spec, depth: int) -> _Spec:
    """The same contents without classes: dicts for what has names, tuples for named tuples, whose names are not told."""
    if depth == 0:
        return spec
    children = [_plain(child, depth - 1) for child in spec.children_spec]
    names = None if spec.type is None or spec.type.startswith("builtins.") else _field_names(spec)
    if spec.type == "collections.namedtuple":
        return _Spec(type="builtins.tuple", context="null", children_spec=children)
    if names is not None and len(names) == len(children):
        return _Spec(type="builtins.dict", context=json.dumps(names), children_spec=children)
    return _Spec(type=spec.type, context=spec.context, children_spec=children)


def _field_names(spec: _Spec) -> list[str] | None:
    try:
        found = _NAMES.validate_json(spec.context or "", strict=True)
    except ValidationError:
        return None
    return found if isinstance(found, list) else found[0]


def _checked(spec: _Spec, depth: int) -> dict[str, object]:
    if depth == 0:
        _refuse("container", "nested more than 32 deep")
    known = (
        (spec.type is None and spec.context is None and not spec.children_spec)
        or (spec.type in _SEQUENCES and spec.context in (None, "null"))
        or (spec.type == "builtins.dict" and len(_keys(spec)) == len(spec.children_spec))
    )
    if not known:
        _refuse("container", spec.type)
    context = json.dumps(_keys(spec)) if spec.type == "builtins.dict" else spec.context
    children = [_checked(child, depth - 1) for child in spec.children_spec]
    return {"type": spec.type, "context": context, "children_spec": children}


def _keys(spec: _Spec) -> list[str]:
    try:
        keys = _KEYS.validate_json(spec.context or "", strict=True)
    except ValidationError:
        _refuse("dict with the keys", spec.context)
    if len(set(keys)) != len(keys) or not all(_KEY.fullmatch(key) for key in keys):
        _refuse("dict with the keys", spec.context)
    return keys
