"""Checks how the inputs and outputs of a program are nested: in tuples, lists and dicts only.

The description of any other container (named tuple, dataclass, enum, default dict) names a module,
and torch imports that module. In the outputs of a model, such a container is replaced by a plain
tuple or dict with the same contents and names. In its inputs, such a container is refused.
"""

import json
import re

from pydantic import TypeAdapter, ValidationError

from unitrank_engine.archive.description.names import ArchiveSchema, Items, is_identifier
from unitrank_engine.archive.errors import ArchiveError, escaped

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
"""The names of a container's fields.

Ordered dicts and the outputs of Transformers list their fields. A dataclass has two lists: the
fields with a value, and the fields that are None.
"""


def check_outputs(text: str) -> str:
    """The nesting of the outputs as JSON, with plain containers only.

    Raises ArchiveError `container_refused`.
    """
    return json.dumps([1, _checked(_plain(_parsed(text), _DEPTH), _DEPTH)])


def check_inputs(text: str) -> str:
    """The nesting of (arguments, keyword arguments) as JSON.

    Raises ArchiveError `container_refused`.
    """
    spec = _parsed(text)
    checked = _checked(spec, _DEPTH)
    pair = [child.type for child in spec.children_spec]
    if spec.type != "builtins.tuple" or pair != ["builtins.tuple", "builtins.dict"]:
        raise _refusal(f"the inputs are nested as {escaped(text)}, not as a tuple of arguments and a dict of keyword arguments")
    # Keyword arguments become parameters in the code that torch generates.
    if not all(is_identifier(key) for key in _keys(spec.children_spec[1])):
        raise _refusal(f"a keyword argument in {escaped(text)} is not a Python identifier")
    return json.dumps([1, checked])


def _refusal(fault: str) -> ArchiveError:
    return ArchiveError(
        "container_refused",
        f"{fault}; the forward method must take and return tensors in tuples, lists and dicts with plain string keys",
    )


def _parsed(text: str) -> _Spec:
    length = len(text)
    if length > _LENGTH:
        raise _refusal(f"the description of a container has {length} characters, at most {_LENGTH} are accepted")
    try:
        version, spec = _SAVED.validate_json(text, strict=True)
    except ValidationError as error:
        raise _refusal(f"the description of a container is {escaped(text)}, which torch.export.save does not write") from error
    if version != 1:
        raise _refusal(f"the description of a container has the version {escaped(version)}, only version 1 is accepted")
    return spec


def _plain(spec: _Spec, depth: int) -> _Spec:
    """The same contents in dicts and tuples.

    A named tuple becomes a tuple, because its description has no names.
    """
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
        names = _NAMES.validate_json(spec.context or "", strict=True)
    except ValidationError:
        return None
    return names if isinstance(names, list) else names[0]


def _checked(spec: _Spec, depth: int) -> dict[str, object]:
    if depth == 0:
        raise _refusal(f"the containers are nested more than {_DEPTH} deep")
    accepted = (
        (spec.type is None and spec.context is None and not spec.children_spec)
        or (spec.type in _SEQUENCES and spec.context in (None, "null"))
        or (spec.type == "builtins.dict" and len(_keys(spec)) == len(spec.children_spec))
    )
    if not accepted:
        kind = escaped(spec.type)
        raise _refusal(f"the container {kind} is not accepted")
    context = json.dumps(_keys(spec)) if spec.type == "builtins.dict" else spec.context
    children = [_checked(child, depth - 1) for child in spec.children_spec]
    return {"type": spec.type, "context": context, "children_spec": children}


def _keys(spec: _Spec) -> list[str]:
    given = escaped(spec.context)
    try:
        keys = _KEYS.validate_json(spec.context or "", strict=True)
    except ValidationError as error:
        raise _refusal(f"the keys of a dict are {given}, not a list of strings") from error
    if len(set(keys)) != len(keys) or not all(_KEY.fullmatch(key) for key in keys):
        raise _refusal(f"the keys of a dict are {given}: keys must differ, and use letters, digits and _ .:@/- only")
    return keys
