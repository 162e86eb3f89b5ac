"""Schemas of weights and constants.

A payload is the raw bytes of a tensor. They must agree with the tensor's shape and type.
"""

from collections.abc import Callable
from math import prod
from typing import Annotated

from pydantic import AfterValidator, Field

from unitrank_engine.archive.description.names import ArchiveSchema, Items, Path
from unitrank_engine.archive.description.tensors import ITEM_SIZES, Device, DType, Layout
from unitrank_engine.archive.errors import ArchiveError, escaped


def _no_pickle(value: bool) -> bool:
    if value:
        raise ArchiveError("pickle_refused", "a pickle holds a weight; only plain tensors may be weights or constants")
    return value


class _Extent(ArchiveSchema):
    as_int: Annotated[int, Field(ge=0, lt=1 << 48)]


class _Tensor(ArchiveSchema):
    dtype: DType
    sizes: Annotated[Items[_Extent], Field(max_length=64)]
    requires_grad: bool
    device: Device
    strides: Annotated[Items[_Extent], Field(max_length=64)]
    storage_offset: _Extent
    layout: Layout


class Payload(ArchiveSchema):
    """A tensor and `path_name`, the entry that holds its bytes."""

    path_name: str
    is_param: bool
    use_pickle: Annotated[bool, AfterValidator(_no_pickle)]
    tensor_meta: _Tensor


class Payloads(ArchiveSchema):
    """The tensors of one kind by name, each with the entry that holds its bytes."""

    config: dict[Path, Payload]

    def entry_names(self) -> list[str]:
        """The names of the entries that hold bytes, each once. Tied weights share one entry."""
        return list(dict.fromkeys(payload.path_name for payload in self.config.values()))


def check_payloads(payloads: Payloads, prefix: str, size: Callable[[str], int]) -> None:
    """Raises ArchiveError unless each tensor fits into its entry.

    `prefix`: the start of the names of the entries, before a number.
    `size`: gives the bytes of the entry with this name.
    """
    dtypes: dict[str, DType] = {}
    for name, payload in payloads.config.items():
        tensor = payload.tensor_meta
        number = payload.path_name.removeprefix(prefix)
        if number == payload.path_name or not (number.isascii() and number.isdecimal()):
            entry = escaped(payload.path_name)
            raise ArchiveError(
                "pickle_refused",
                f"tensor {escaped(name)} is stored in entry {entry}; expected an entry named {prefix}<number>",
            )
        if dtypes.setdefault(payload.path_name, tensor.dtype) != tensor.dtype:
            raise ArchiveError(
                "weights_refused",
                f"tensor {escaped(name)} shares its bytes with a tensor of another type; expected one type for shared bytes",
            )
        _check_extent(name, tensor, size(payload.path_name))


def _check_extent(name: str, tensor: _Tensor, size: int) -> None:
    shape = [extent.as_int for extent in tensor.sizes]
    strides = [extent.as_int for extent in tensor.strides]
    item = ITEM_SIZES[tensor.dtype]
    elements = prod(shape)
    steps = sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=False))
    reach = tensor.storage_offset.as_int + steps + 1 if elements else 0
    # torch multiplies the sizes of an empty tensor too, with 64-bit integers.
    if (
        len(shape) != len(strides)
        or prod(max(extent, 1) for extent in shape) * item >> 62
        or size % item
        or max(reach, elements) * item > size
    ):
        needed = max(reach, elements) * item
        raise ArchiveError(
            "weights_refused",
            f"tensor {escaped(name)} of shape {escaped(shape)} and strides {escaped(strides)} needs "
            f"{needed} bytes in items of {item}; its entry has {size}",
        )
