"""Names in a program: torch writes some of them into the Python code that it generates, so they must be no more than names."""

import keyword
import re
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from unitrank_engine.archive.errors import ArchiveError, shown

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,511}")
_PATH = re.compile(r"[A-Za-z0-9_-]{1,200}(\.[A-Za-z0-9_-]{1,200}){0,50}")
# One module call: key, path, class. `L['self']._modules['0']` and `net.<locals>.Block` occur.
_CALL = re.compile(r"[\w.@'\[\]-]{0,1000},[\w.@'\[\]-]{0,1000},[\w.<>-]{0,1000}")


class ArchiveSchema(BaseModel):
    """A piece of the description as torch writes it: what is not a field here is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def is_identifier(name: str) -> bool:
    """Whether the name may stand in generated code."""
    return _IDENTIFIER.fullmatch(name) is not None and not keyword.iskeyword(name)


def _identifier(name: str) -> str:
    if not is_identifier(name):
        raise ArchiveError("program_refused", f"name {shown(name)}: expected a Python identifier")
    return name


def _path(name: str) -> str:
    # Names with two leading underscores would reach into the module object itself.
    if not _PATH.fullmatch(name) or any(part.startswith("__") for part in name.split(".")):
        raise ArchiveError("program_refused", f"name {shown(name)}: expected a path such as layers.0.weight")
    return name


def check_module_stack(text: str) -> str:
    """The text itself, where it lists module calls as torch.export does: `key,path,class;key,path,class`."""
    if not all(_CALL.fullmatch(call) and call.count("[") == call.count("]") for call in text.split(";")):
        raise ArchiveError("program_refused", f"nn_module_stack {shown(text)}: expected key,path,class;...")
    return text


Identifier = Annotated[str, AfterValidator(_identifier)]
Path = Annotated[str, AfterValidator(_path)]

Item = TypeVar("Item")
# One wrong item is enough: to collect sixteen million errors took minutes and all memory.
Items = Annotated[list[Item], Field(fail_fast=True)]
