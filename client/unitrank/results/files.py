"""Files with the summary and the arrays of a result."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unitrank.dataset_files import write_npz
from unitrank.errors import NotPossible
from unitrank_schemas.class_names import given_names
from unitrank_schemas.results import LayeredResult, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

SUMMARY = "summary.json"
"""The array of a saved file that holds the summary as JSON, one byte per element."""
CLASSES = "classes.json"
"""The array of a saved file that holds the names of classes as JSON; missing without names."""


class FileContents(NamedTuple):
    """The contents of a file: the summary as JSON, the arrays, and the names of classes."""

    summary: bytes
    arrays: Arrays
    classes: Mapping[str, str]


def write_result(path: Path, summary: Result | LayeredResult, arrays: Arrays, classes: Mapping[str, str]) -> None:
    """Writes a file that `read_result` reads. Raises NotPossible if it cannot be written."""
    names = {CLASSES: _bytes(json.dumps(dict(classes)))} if classes else {}
    try:
        write_npz(path, {**arrays, SUMMARY: _as_array(summary), **names})
    except OSError as error:
        raise NotPossible(f"{path} cannot be written: {error.strerror or error}", code="not_written") from error


def read_result(path: Path) -> FileContents:
    """The contents of a file that `write_result` wrote.

    Raises OSError, KeyError, ValueError or BadZipFile for another file.
    """
    with zipfile.ZipFile(path):
        arrays = dict(read_npz(path))
    summary, classes = bytes(arrays.pop(SUMMARY)), arrays.pop(CLASSES, None)
    return FileContents(summary, arrays, {} if classes is None else given_names(json.loads(bytes(classes))))


def read_npz(path: Path) -> Arrays:
    """The arrays of an .npz file."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def add_summary(path: Path, summary: Result | LayeredResult) -> None:
    """Adds the summary to a file of arrays, as `JobResult.save` does. No array is read."""
    write_npz(path, {SUMMARY: _as_array(summary)}, "a")


def _as_array(summary: Result | LayeredResult) -> NDArray[Any]:
    return _bytes(summary.model_dump_json())


def _bytes(text: str) -> NDArray[Any]:
    import numpy as np

    return np.frombuffer(text.encode(), np.uint8)
