"""Arrays, tensors and data sets of PyTorch as the bytes of an .npz: equal values make equal bytes, wherever they are written."""

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

PLACES = ("x", "y")
"""Fields of what a data set of PyTorch gives as a tuple, in order; those behind are called field2, field3 and so on."""


@contextmanager
def table_file(data: Any, fields: Mapping[str, Any]) -> Iterator[Path]:
    """A file with the fields, for as long as the block runs; the given one where `data` is a path. Raises NotPossible.

    `data` is a path, a mapping of fields, a data set of PyTorch (of items, or of tuples or mappings of them), or None.
    """
    if isinstance(data, str | Path):
        if fields:
            raise NotPossible("give a path or fields, not both", code="invalid_request")
        if not Path(data).is_file():
            raise NotPossible(f"there is no file {data}", code="no_file")
        yield Path(data)
        return
    with tempfile.TemporaryDirectory(prefix="unitrank-") as place:
        folder = Path(place)
        if data is None or isinstance(data, Mapping):
            _write(folder / "table.npz", {name: array_of(values) for name, values in {**(data or {}), **fields}.items()})
        else:
            _gather(folder / "table.npz", data, fields)
        yield folder / "table.npz"


def array_of(values: Any) -> NDArray[Any]:
    """The values of a tensor wherever it lies, an array, a list or a scalar. Raises NotPossible."""
    import numpy as np

    torch = sys.modules.get("torch")
    mixed = f"a {type(values).__name__} of mixed or ragged values is no field; expected numbers or strings"
    try:
        if torch is not None and isinstance(values, torch.Tensor):
            plain = values.detach().cpu()
            # numpy has no such type
            values = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotPossible(f"{mixed} ({error})", code="invalid_request") from error
    if array.dtype.hasobject:
        raise NotPossible(mixed, code="invalid_request")
    return array


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], mode: Literal["w", "a"] = "w") -> None:
    """What numpy.savez writes, whatever the arrays are called; with `a` behind those that the file has."""
    import numpy as np

    with zipfile.ZipFile(path, mode) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    if not arrays:
        raise NotPossible("there are no fields; give arrays such as x=… and y=…, a data set, a path or uri=…")
    write_npz(path, arrays)


def _gather(path: Path, dataset: Any, fields: Mapping[str, Any]) -> None:
    """Item by item into files, so that memory holds one of them."""
    # What has keys, such as a data frame, gives no items by number.
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__") or hasattr(dataset, "keys"):
        raise NotPossible(
            f"a {type(dataset).__name__} is no data; expected arrays such as x=…, a path, "
            "or a torch.utils.data.Dataset with a length",
            code="invalid_request",
        )
    count = len(dataset)
    if not count:
        raise NotPossible("the data set is empty", code="no_examples")
    columns = {name: array_of(values) for name, values in fields.items()}
    gathered: dict[str, Any] = {}
    for row in range(count):
        item = _named(dataset[row])
        if row and item.keys() != gathered.keys():
            raise NotPossible(
                f"item {row} of the data set has {sorted(item)}, but the first one {sorted(gathered)}; all must be alike"
            )
        for name, value in item.items():
            if name not in gathered:
                gathered[name] = _column(path.with_name(f"{len(gathered)}.npy"), count, value)
            _fit(name, row, value, gathered[name])
            gathered[name][row] = value
    _write(path, {**gathered, **columns})


def _column(path: Path, count: int, first: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.lib.format.open_memmap(path, mode="w+", dtype=first.dtype, shape=(count, *first.shape))


def _fit(name: str, row: int, value: NDArray[Any], column: NDArray[Any]) -> None:
    """Raises NotPossible where the item would lose something, or is of another shape."""
    import numpy as np

    if value.shape != column.shape[1:] or not np.can_cast(value.dtype, column.dtype):
        raise NotPossible(
            f"item {row} of the data set is {value.dtype} {list(value.shape)} in {name!r}, "
            f"but the first one is {column.dtype} {list(column.shape[1:])}; all must be alike"
        )


def _named(item: Any) -> dict[str, NDArray[Any]]:
    if isinstance(item, Mapping):
        return {str(name): array_of(value) for name, value in item.items()}
    parts = item if isinstance(item, tuple | list) else (item,)
    return {PLACES[at] if at < len(PLACES) else f"field{at}": array_of(part) for at, part in enumerate(parts)}
