"""Formats of uploaded models: how a PUT's query parameters choose one, and what its bytes must look like."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Query

from unitrank_schemas.models import Architecture, Archive, ModelFormat
from unitrank_service.contents.architectures import check_weights, installed


@dataclass(frozen=True)
class UploadOptions:
    """The query parameters of a PUT, of all formats."""

    architecture: Annotated[
        str | None, Query(description="An architecture that the operator installed; the body is its weights, as safetensors.")
    ] = None
    arguments: Annotated[str | None, Query(description="What the architecture is built with: a JSON object.")] = None

    def format(self) -> ModelFormat:
        """The format that the parameters choose; an archive without any. Raises InvalidBody."""
        chosen = (entry.chosen(self) for entry in FORMATS.values())
        return next((format for format in chosen if format is not None), Archive())


@dataclass(frozen=True)
class FormatEntry:
    """One format.

    `chosen`: the format with its options where the query parameters choose it, else None; raises InvalidBody.
    `check`: looks at the uploaded file before anything is stored, without torch; raises InvalidBody.
    """

    chosen: Callable[[UploadOptions], ModelFormat | None]
    check: Callable[[Path], None]


FORMATS: dict[type[ModelFormat], FormatEntry] = {
    # Only the inspection checks archives, because reading one takes torch.
    Archive: FormatEntry(chosen=lambda options: None, check=lambda path: None),
    Architecture: FormatEntry(chosen=lambda options: installed(options.architecture, options.arguments), check=check_weights),
}


def check_bytes_of(format: ModelFormat, path: Path) -> None:
    """Raises InvalidBody where the file cannot be of the format."""
    FORMATS[type(format)].check(path)
