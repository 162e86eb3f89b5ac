"""The formats of uploaded models, and the function that inspects the bytes of each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unitrank_engine.models import architectures, inspection
from unitrank_schemas.base import Json
from unitrank_schemas.models import Architecture, Archive, ModelFormat

Inspect = Callable[[Any, Path, Path], Json]
"""Format, source, target → manifest. Any: each function takes the format that is its key."""

INSPECTIONS: dict[type[ModelFormat], Inspect] = {
    Archive: lambda format, source, target: inspection.inspect(source, target),
    Architecture: architectures.inspect,
}


def inspect(format: ModelFormat, source: Path, target: Path) -> Json:
    """The manifest of an uploaded model. Raises EngineError when the model is refused.

    `source`: the file with the bytes of the upload.
    `target`: the path that the clean archive is written to.
    """
    return INSPECTIONS[type(format)](format, source, target)
