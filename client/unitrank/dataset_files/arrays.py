"""Arrays, tensors, lists and pictures as numpy arrays, and files of arrays.

Equal values give equal bytes on every machine.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray


def array_of(values: Any, field: str) -> NDArray[Any]:
    """The values of a tensor, an array, a picture, a list or a scalar as an array.

    A picture of Pillow becomes an array with its channels first. Raises NotPossible.
    """
    import numpy as np

    torch, pillow = sys.modules.get("torch"), sys.modules.get("PIL.Image")
    try:
        if torch is not None and isinstance(values, torch.Tensor):
            tensor = values.detach().cpu()
            # numpy has no bfloat16.
            values = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        elif pillow is not None and isinstance(values, pillow.Image):
            return channels_first(np.asarray(values))
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotPossible(f"{_not_a_field(values, field)} ({error})", code="invalid_request") from error
    if array.dtype.hasobject:
        raise NotPossible(_not_a_field(values, field), code="invalid_request")
    return array


def channels_first(pixels: NDArray[Any]) -> NDArray[Any]:
    """The pixels [height, width] or [height, width, channels] as [channels, height, width]."""
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], mode: Literal["w", "a"] = "w") -> None:
    """Writes the arrays as numpy.savez does, under any names. Mode `a` adds them to a file."""
    import numpy as np

    with zipfile.ZipFile(path, mode) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _not_a_field(values: Any, field: str) -> str:
    kind = type(values).__name__
    alone = f"give the {kind} as the data, without a field name"
    advice = alone if kind in ("DataLoader", "Dataset") else "give numbers or texts, the same number for each row"
    return f"field {field!r} is a {kind} that cannot become an array, because its values are mixed or ragged; {advice}"
