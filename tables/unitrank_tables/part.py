"""Named arrays with metadata: intermediate results are stored and sent in this form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

# The name of the array that holds the metadata. Stored parts use this name, so it must not change.
_METADATA = "says"


@dataclass(frozen=True)
class Part:
    """`arrays`: arrays by name. `metadata`: JSON values that describe them."""

    arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


def encode_part(part: Part) -> bytes:
    """The part as safetensors; every number keeps its width."""
    metadata = np.frombuffer(json.dumps(part.metadata, allow_nan=False).encode(), np.uint8)
    arrays = {f"array/{name}": np.ascontiguousarray(array) for name, array in part.arrays.items()}
    return save({_METADATA: metadata} | arrays)


def decode_part(data: bytes) -> Part | None:
    """The part that `encode_part` wrote; None for any other bytes."""
    try:
        arrays = load(data)
        metadata = json.loads(arrays.pop(_METADATA).tobytes())
    except (SafetensorError, KeyError, ValueError):
        return None
    return Part({name.removeprefix("array/"): array for name, array in arrays.items()}, metadata)
