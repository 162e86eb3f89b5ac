"""Formats of uploaded models. The query parameters of a PUT choose one, which checks the bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Query

from unitrank_schemas.models import Architecture, Archive, ModelFormat
from unitrank_service.contents.architectures import check_weights, installed


@dataclass(frozen=True)
class UploadOptions:
    """The query parameters of a PUT that choose the format, for all formats together."""

    architecture: Annotated[
        str | None, Query(description="Name of an installed architecture. The body is its weights, as a safetensors file.")
    ] = None
    arguments: Annotated[
        str | None, Query(description='Arguments of the architecture as a JSON object, such as `{"hidden": 16}`.')
    ] = None

    def format(self) -> ModelFormat:
        """Return the chosen format; the default is `Archive`. Raises InvalidBody."""
        formats = (entry.chosen(self) for entry in FORMATS.values())
        return next((format for format in formats if format is not None), Archive())


@dataclass(frozen=True)
class FormatEntry:
    """The functions of one format.

    `chosen`: returns the format with its options if the query parameters choose it, otherwise
    None. Raises InvalidBody.
    `check`: checks the uploaded file before it is stored, without torch. Raises InvalidBody.
    """

    chosen: Callable[[UploadOptions], ModelFormat | None]
    check: Callable[[Path], None]


FORMATS: dict[type[ModelFormat], FormatEntry] = {
    # The inspection checks archives, because reading an archive requires torch.
    Archive: FormatEntry(chosen=lambda options: None, check=lambda path: None),
    Architecture: FormatEntry(chosen=lambda options: installed(options.architecture, options.arguments), check=check_weights),
}


def check_bytes_of(format: ModelFormat, path: Path) -> None:
    """Raises InvalidBody if the file does not have the format."""
    FORMATS[type(format)].check(path)
