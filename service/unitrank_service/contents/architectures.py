"""Installed architectures. The service reads only their names; a worker runs their code."""

import mmap
from importlib.metadata import entry_points
from pathlib import Path

from unitrank_schemas.checks import excerpt, nearest
from unitrank_schemas.models import ARCHITECTURES, Architecture
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.strict_json import parse
from unitrank_tables.errors import BadTable
from unitrank_tables.formats.safetensors import safetensors_header


def installed(name: str | None, arguments: str | None) -> Architecture | None:
    """Return the architecture of a PUT with its arguments, or None if `name` is None.

    `arguments`: a JSON object as text.
    Raises InvalidBody if the name or the arguments are invalid.
    """
    if name is None:
        if arguments is not None:
            detail = "`arguments` was sent without `architecture`; name an installed architecture, or leave `arguments` out"
            raise _invalid("/query/arguments", "architecture_missing", detail)
        return None
    names = sorted(entry_points(group=ARCHITECTURES).names)
    if name not in names:
        installed_names = nearest(name[:100], names) if names else "; this service has no installed architectures"
        raise _invalid("/query/architecture", "architecture_not_found", f"architecture {name[:100]!r} not found{installed_names}")
    return Architecture.model_validate({"name": name, "arguments": _object(arguments)})


def check_weights(path: Path) -> None:
    """Raises InvalidBody unless the file is a safetensors file.

    The inspection later compares the weights with the architecture.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            if memory[:2] == b"PK":
                detail = "it is a zip archive, as torch.export writes it; leave `architecture` out to upload an archive"
                raise BadTable("not_a_table", detail)
            safetensors_header(memory)
    except BadTable as error:
        raise _invalid("", error.code, f"the weights are not a safetensors file: {error}") from error


def _object(arguments: str | None) -> dict[str, object]:
    try:
        value = parse((arguments or "{}").encode())
    except InvalidBody:
        raise
    except HttpProblem as error:
        raise _invalid("/query/arguments", "malformed_json", str(error)) from error
    if not isinstance(value, dict):
        detail = f'`arguments` is {excerpt(value)}; send a JSON object, such as {{"hidden": 16}}'
        raise _invalid("/query/arguments", "invalid_arguments", detail)
    return value


def _invalid(pointer: str, code: str, detail: str) -> InvalidBody:
    return InvalidBody([Invalid(pointer=pointer, detail=detail, code=code)])
