"""The items of datasets and the batches of loaders as rows of columns.

Each function yields mappings: name of a column → array [rows, *shape].
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from unitrank.dataset_files.arrays import array_of
from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = Mapping[str, NDArray[Any]]

TUPLE_FIELDS = ("x", "y")
"""Fields for the first parts of an item that is a tuple; the later parts are field2, field3, …"""


def rows_of(data: Any) -> Iterator[Rows]:
    """The rows of a PyTorch loader, of a dataset with a length or a stream, or of an iterator.

    Raises NotPossible for another object.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.utils.data.DataLoader):
        return _batches(data)
    # A frame has keys: its rows are not items.
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not hasattr(data, "keys"):
        return _items((data[row] for row in range(len(data))), _class_names(data))
    if hasattr(data, "__iter__") and not hasattr(data, "keys"):
        return _items(iter(data), _class_names(data))
    raise NotPossible(
        f"a {type(data).__name__} cannot be uploaded as a dataset; give arrays such as x=…, a frame, a path, "
        "or a torch.utils.data.Dataset",
        code="invalid_request",
    )


def _items(items: Iterable[Any], class_names: Mapping[str, Callable[[int], str]]) -> Iterator[Rows]:
    """One row for each item, with the name of each class beside its number."""
    for item in items:
        values = {name: array_of(value, name)[None] for name, value in _fields_of(item).items()}
        names = {f"{name}_name": array_of([called(int(values[name][0]))], name) for name, called in class_names.items()}
        yield {**values, **names}


def _batches(loader: Any) -> Iterator[Rows]:
    """The rows of each batch of a loader that yields every item, in a fixed order."""
    import torch

    if isinstance(loader.sampler, torch.utils.data.RandomSampler):
        raise NotPossible(
            "the DataLoader shuffles, so its rows would have another order each time; "
            "make it with shuffle=False, or pass its dataset: loader.dataset",
            code="invalid_request",
        )
    if loader.drop_last and loader.batch_size is not None:
        raise NotPossible(
            "the DataLoader has drop_last=True and may leave out the last rows; "
            "make it with drop_last=False, or pass its dataset: loader.dataset",
            code="invalid_request",
        )
    if loader.batch_size is None and loader.batch_sampler is None:
        yield from _items(loader, {})
        return
    for batch in loader:
        yield {name: array_of(value, name) for name, value in _fields_of(batch).items()}


def _fields_of(item: Any) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    parts = item if isinstance(item, tuple | list) else (item,)
    names = [TUPLE_FIELDS[index] if index < len(TUPLE_FIELDS) else f"field{index}" for index in range(len(parts))]
    return dict(zip(names, parts, strict=True))


def _class_names(dataset: Any) -> dict[str, Callable[[int], str]]:
    """Column → the function from a class's number to its name, for a dataset of Hugging Face."""
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return {}
    return {name: feature.int2str for name, feature in features.items() if hasattr(feature, "int2str")}
