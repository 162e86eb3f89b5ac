"""Checks the names in a program.

torch writes some of the names into the Python code that it generates.
"""

import keyword
import re
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from unitrank_engine.archive.errors import ArchiveError, escaped

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,511}")
_PATH = re.compile(r"[A-Za-z0-9_-]{1,200}(\.[A-Za-z0-9_-]{1,200}){0,50}")
# One module call: key, path, class. Keys such as `L['self']._modules['0']` and classes such as
# `net.<locals>.Block` occur.
_CALL = re.compile(r"[\w.@'\[\]-]{0,1000},[\w.@'\[\]-]{0,1000},[\w.<>-]{0,1000}")


class ArchiveSchema(BaseModel):
    """A part of the description as torch writes it; a key that is not a field is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def is_identifier(name: str) -> bool:
    """Whether the name is a Python identifier of ASCII letters, digits and underscores."""
    return _IDENTIFIER.fullmatch(name) is not None and not keyword.iskeyword(name)


def _identifier(name: str) -> str:
    if not is_identifier(name):
        raise ArchiveError("program_refused", f"name {escaped(name)} is not accepted; expected a Python identifier")
    return name


def _path(name: str) -> str:
    # A name with two leading underscores would reach attributes of the module object itself.
    if not _PATH.fullmatch(name) or any(part.startswith("__") for part in name.split(".")):
        raise ArchiveError("program_refused", f"name {escaped(name)} is not accepted; expected a path such as layers.0.weight")
    return name


def check_module_stack(text: str) -> str:
    """The text, unchanged.

    Raises ArchiveError unless the text lists module calls: `key,path,class;key,path,class`.
    """
    if not all(_CALL.fullmatch(call) and call.count("[") == call.count("]") for call in text.split(";")):
        raise ArchiveError("program_refused", f"nn_module_stack {escaped(text)} is not accepted; expected key,path,class;...")
    return text


Identifier = Annotated[str, AfterValidator(_identifier)]
Path = Annotated[str, AfterValidator(_path)]

Item = TypeVar("Item")
# Validation stops at the first wrong item: collecting sixteen million errors took minutes and all
# memory.
Items = Annotated[list[Item], Field(fail_fast=True)]
