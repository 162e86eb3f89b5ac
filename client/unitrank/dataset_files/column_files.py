"""Columns that grow item by item in files, so that memory holds one item at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ColumnFiles:
    """Columns in the files of a folder, which are closed at the end of the block.

    The first rows decide the names, shapes and types.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()
        self._columns: dict[str, _Numbers | _Texts] = {}
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Appends rows: for each column an array [rows, *shape].

        Raises NotPossible if they do not fit the first rows.
        """
        counts = {name: len(values) for name, values in rows.items()}
        if len(set(counts.values())) > 1:
            raise NotPossible(f"item {self.rows} of the dataset has fields of unequal lengths: {counts}", code="invalid_request")
        if self.rows and rows.keys() != self._columns.keys():
            raise NotPossible(
                f"item {self.rows} of the dataset has the fields {sorted(rows)}, but item 0 has {sorted(self._columns)}; "
                "all items must have the same fields"
            )
        for name, values in rows.items():
            if name not in self._columns:
                self._columns[name] = self._column(name, values)
            self._columns[name].add(values, self.rows)
        self.rows += next(iter(counts.values()), 0)

    def _column(self, name: str, first: NDArray[Any]) -> _Numbers | _Texts:
        if first.dtype.kind == "U":
            return _Texts(name, first)
        file = self._files.enter_context((self._folder / f"column{len(self._columns)}").open("w+b"))
        return _Numbers(file, name, first)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns; numbers are read from their files. Raises NotPossible without rows."""
        if not self.rows:
            raise NotPossible("the dataset is empty; give one with at least one item", code="no_examples")
        return {name: column.array(self.rows) for name, column in self._columns.items()}


class _Numbers:
    """A column of numbers in a file."""

    def __init__(self, file: BinaryIO, name: str, first: NDArray[Any]) -> None:
        self._file, self._name = file, name
        self._dtype, self._shape = first.dtype, first.shape[1:]

    def add(self, values: NDArray[Any], row: int) -> None:
        """Appends the values. `row`: number of their first row, for the error."""
        import numpy as np

        if values.shape[1:] != self._shape or not np.can_cast(values.dtype, self._dtype):
            raise NotPossible(
                f"item {row} of the dataset is {values.dtype} {list(values.shape[1:])} in field {self._name!r}, "
                f"but item 0 is {self._dtype} {list(self._shape)}; all items must have the same shape and type"
            )
        self._file.write(np.ascontiguousarray(values, self._dtype).tobytes())

    def array(self, rows: int) -> NDArray[Any]:
        """The values [rows, *shape]."""
        import numpy as np

        self._file.flush()
        if not self._file.tell():
            return np.empty((rows, *self._shape), self._dtype)
        return np.memmap(self._file, self._dtype, "r", shape=(rows, *self._shape))


class _Texts:
    """A column of texts in memory; their lengths may differ."""

    def __init__(self, name: str, first: NDArray[Any]) -> None:
        self._name, self._shape = name, first.shape[1:]
        self._parts: list[NDArray[Any]] = []

    def add(self, values: NDArray[Any], row: int) -> None:
        """Appends the values. `row`: number of their first row, for the error."""
        if values.dtype.kind != "U" or values.shape[1:] != self._shape:
            raise NotPossible(
                f"item {row} of the dataset is {values.dtype} {list(values.shape[1:])} in field {self._name!r}, "
                f"but item 0 is text {list(self._shape)}; all items must have the same shape and type"
            )
        self._parts.append(values)

    def array(self, rows: int) -> NDArray[Any]:
        """The values [rows, *shape]."""
        import numpy as np

        return np.concatenate(self._parts)
