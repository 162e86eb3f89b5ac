"""Writes arrays, tensors and PyTorch datasets as .npz files.

Equal values give equal bytes on every machine.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray

TUPLE_FIELDS = ("x", "y")
"""Fields for the first parts of an item that is a tuple; the later parts are field2, field3, …"""


@contextmanager
def table_file(data: Any, fields: Mapping[str, Any]) -> Iterator[Path]:
    """Yields a file with the fields, which is deleted after the block. Raises NotPossible.

    Args:
        data: the path of a file, which is yielded as it is; a mapping of fields; a PyTorch
            dataset, whose items are values, tuples or mappings; or None.
        fields: more fields by name. All fields have one row per example.
    """
    if isinstance(data, str | Path):
        if fields:
            raise NotPossible(
                f"both a path and the fields {', '.join(map(repr, fields))} were given; give one of them",
                code="invalid_request",
            )
        if not Path(data).is_file():
            raise NotPossible(f"the file {data} does not exist; give the path of an .npz or safetensors file", code="no_file")
        yield Path(data)
        return
    with tempfile.TemporaryDirectory(prefix="unitrank-") as name:
        folder = Path(name)
        if data is None or isinstance(data, Mapping):
            _write(folder / "table.npz", {name: array_of(values, name) for name, values in {**(data or {}), **fields}.items()})
        else:
            _write_items(folder / "table.npz", data, fields)
        yield folder / "table.npz"


def array_of(values: Any, field: str) -> NDArray[Any]:
    """The values of a tensor, an array, a list or a scalar as an array. Raises NotPossible."""
    import numpy as np

    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(values, torch.Tensor):
            tensor = values.detach().cpu()
            # numpy has no bfloat16.
            values = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotPossible(f"{_not_a_field(values, field)} ({error})", code="invalid_request") from error
    if array.dtype.hasobject:
        raise NotPossible(_not_a_field(values, field), code="invalid_request")
    return array


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], mode: Literal["w", "a"] = "w") -> None:
    """Writes the arrays as numpy.savez does, under any names. Mode `a` adds them to a file."""
    import numpy as np

    with zipfile.ZipFile(path, mode) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _not_a_field(values: Any, field: str) -> str:
    kind = type(values).__name__
    advice = "pass its dataset: loader.dataset" if kind == "DataLoader" else "give numbers or texts, the same number for each row"
    return f"field {field!r} is a {kind} that cannot become an array, because its values are mixed or ragged; {advice}"


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    if not arrays:
        raise NotPossible("the dataset has no fields; give arrays such as x=… and y=…, a PyTorch dataset, a path or uri=…")
    write_npz(path, arrays)


def _write_items(path: Path, dataset: Any, fields: Mapping[str, Any]) -> None:
    """Writes a PyTorch dataset item by item, so that memory holds one item at a time."""
    # An object with keys, such as a DataFrame, does not give its rows by number.
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__") or hasattr(dataset, "keys"):
        raise NotPossible(_not_a_dataset(dataset), code="invalid_request")
    count = len(dataset)
    if not count:
        raise NotPossible("the dataset is empty; give one with at least one item", code="no_examples")
    arrays = {name: array_of(values, name) for name, values in fields.items()}
    columns: dict[str, Any] = {}
    for row in range(count):
        item = _fields_of(dataset[row])
        if row and item.keys() != columns.keys():
            raise NotPossible(
                f"item {row} of the dataset has the fields {sorted(item)}, but item 0 has {sorted(columns)}; "
                "all items must have the same fields"
            )
        for name, value in item.items():
            if name not in columns:
                columns[name] = _column(path.with_name(f"{len(columns)}.npy"), count, value)
            _check_fit(name, row, value, columns[name])
            columns[name][row] = value
    _write(path, {**columns, **arrays})


def _not_a_dataset(data: Any) -> str:
    """The message for an object that is not a dataset, with the call that fits its type."""
    kind = type(data).__name__
    advice = {
        "DataFrame": "pass it as a field: put(name, x=frame, y=labels)",
        "DataLoader": "pass its dataset: loader.dataset",
    }
    expected = "give arrays such as x=…, a path, or a torch.utils.data.Dataset with a length"
    return f"a {kind} cannot be uploaded as a dataset; {advice.get(kind, expected)}"


def _column(path: Path, count: int, first: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.lib.format.open_memmap(path, mode="w+", dtype=first.dtype, shape=(count, *first.shape))


def _check_fit(name: str, row: int, value: NDArray[Any], column: NDArray[Any]) -> None:
    """Raises NotPossible if the value has another shape, or would lose precision in the column."""
    import numpy as np

    if value.shape != column.shape[1:] or not np.can_cast(value.dtype, column.dtype):
        raise NotPossible(
            f"item {row} of the dataset is {value.dtype} {list(value.shape)} in field {name!r}, "
            f"but item 0 is {column.dtype} {list(column.shape[1:])}; all items must have the same shape and type"
        )


def _fields_of(item: Any) -> dict[str, NDArray[Any]]:
    if isinstance(item, Mapping):
        return {str(name): array_of(value, str(name)) for name, value in item.items()}
    parts = item if isinstance(item, tuple | list) else (item,)
    names = [TUPLE_FIELDS[index] if index < len(TUPLE_FIELDS) else f"field{index}" for index in range(len(parts))]
    return {name: array_of(part, name) for name, part in zip(names, parts, strict=True)}
