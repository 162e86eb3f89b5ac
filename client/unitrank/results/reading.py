"""Reads results of one layer and of several layers, and makes the fitting class of each."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from unitrank.errors import NotPossible
from unitrank.results.files import SUMMARY, read_result
from unitrank.results.job_result import JobResult
from unitrank.results.layered import LayeredJobResult
from unitrank.results.tables import NO_CLASSES
from unitrank_schemas.results import LayeredResult, Result

if TYPE_CHECKING:
    from unitrank.results.files import Arrays


def parsed_summary(content: bytes | str) -> Result | LayeredResult:
    """The summary in JSON; fields of a newer version are ignored.

    Raises ValueError for other contents. A ValidationError is a ValueError.
    """
    schema = LayeredResult if _has_layers(content) else Result
    return schema.model_validate_json(content, extra="ignore")


def _has_layers(content: bytes | str) -> bool:
    text = content.encode() if isinstance(content, str) else content
    # A summary of one layer does not have this text, so that it is read only once.
    if b'"layers"' not in text:
        return False
    fields = json.loads(text)
    return isinstance(fields, dict) and "layers" in fields


def job_result(summary: Result | LayeredResult, arrays: Arrays, classes: Mapping[str, str] = NO_CLASSES) -> JobResult:
    """The result with this summary: a `LayeredJobResult` for a list of layers."""
    if isinstance(summary, LayeredResult):
        return LayeredJobResult(summary, arrays, classes)
    return JobResult(summary, arrays, classes)


def load_result(path: str | Path) -> JobResult:
    """Reads a file that `JobResult.save` wrote. Raises NotPossible."""
    try:
        contents = read_result(Path(path))
        return job_result(parsed_summary(contents.summary), contents.arrays, contents.classes)
    except (OSError, KeyError, ValueError, ValidationError, zipfile.BadZipFile) as error:
        reason = f"it has no {SUMMARY}" if isinstance(error, KeyError) else error
        raise NotPossible(
            f"{path} does not hold a result: {reason}; give a file that JobResult.save or `unitrank result --format npz` wrote",
            code="no_result",
        ) from error
