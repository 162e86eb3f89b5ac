"""Architectures that the operator installed: their names are known here, their code is not."""

import mmap
from importlib.metadata import entry_points
from pathlib import Path

from unitrank_schemas.checks import nearest
from unitrank_schemas.models import ARCHITECTURES, Architecture
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.strict_json import parse
from unitrank_tables.errors import BadTable
from unitrank_tables.formats.safetensors import safetensors_header


def installed(name: str | None, arguments: str | None) -> Architecture | None:
    """The architecture that a PUT names, with its arguments; None if it names none. Raises InvalidBody."""
    if name is None:
        if arguments is not None:
            raise _refused("/query/arguments", "architecture_missing", "arguments are those of an architecture; name one")
        return None
    names = sorted(entry_points(group=ARCHITECTURES).names)
    if name not in names:
        others = nearest(name[:100], names) if names else "; no architectures are installed here"
        raise _refused("/query/architecture", "architecture_not_found", f"architecture {name[:100]!r} not found{others}")
    return Architecture.model_validate({"name": name, "arguments": _object(arguments)})


def check_weights(path: Path) -> None:
    """Raises InvalidBody unless the file is a safetensors file. The inspection checks its weights against the architecture."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            if memory[:2] == b"PK":
                raise BadTable("not_a_table", "a zip archive, such as torch.export writes; leave `architecture` out to send one")
            safetensors_header(memory)
    except BadTable as error:
        raise _refused("", error.code, f"the weights are no safetensors file: {error}") from error


def _object(arguments: str | None) -> dict[str, object]:
    try:
        value = parse((arguments or "{}").encode())
    except InvalidBody:
        raise
    except HttpProblem as error:
        raise _refused("/query/arguments", "malformed_json", str(error)) from error
    if not isinstance(value, dict):
        raise _refused("/query/arguments", "invalid_arguments", 'arguments must be a JSON object, such as {"hidden": 16}')
    return value


def _refused(pointer: str, code: str, detail: str) -> InvalidBody:
    return InvalidBody([Invalid(pointer=pointer, detail=detail, code=code)])
