"""Named arrays with a JSON description: the form in which intermediate results are kept and sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save


@dataclass(frozen=True)
class Part:
    """`arrays` by name, and `says`, JSON values that describe them."""

    arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]] = field(default_factory=dict)
    says: dict[str, Any] = field(default_factory=dict)


def encode_part(part: Part) -> bytes:
    """The part as safetensors; every number keeps its width."""
    says = np.frombuffer(json.dumps(part.says, allow_nan=False).encode(), np.uint8)
    arrays = {f"array/{name}": np.ascontiguousarray(array) for name, array in part.arrays.items()}
    return save({"says": says} | arrays)


def decode_part(data: bytes) -> Part | None:
    """The part that `encode_part` wrote; None for any other bytes."""
    try:
        arrays = load(data)
        says = json.loads(arrays.pop("says").tobytes())
    except (SafetensorError, KeyError, ValueError):
        return None
    return Part({name.removeprefix("array/"): array for name, array in arrays.items()}, says)
