"""`aten._weight_norm` as a norm and products: v · g / ‖v‖."""

import torch
from torch import Tensor

from unitrank_engine.errors import EngineError

aten = torch.ops.aten


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """v with the lengths g; each index of axis `dim` has a length of its own.

    With dim = -1 there is one length for all of v, as in torch.

    Raises EngineError `weights_refused` unless g has one number for each length.
    """
    shape = list(v.shape)
    if not -1 <= dim < max(v.dim(), 1):
        raise EngineError("program_refused", f"_weight_norm: dim is {dim} and v has {v.dim()} axes; expected -1 or an axis of v")
    # As text, because comparing a symbolic size would turn the symbol into a number.
    expected = [str(size) if axis == dim else "1" for axis, size in enumerate(shape)]
    given = [str(size) for size in g.shape]
    one = dim == -1 and all(size == "1" for size in given) and len(given) <= v.dim()
    if not (given == expected or one) or "0" in map(str, shape) or g.dtype != v.dtype:
        raise EngineError(
            "weights_refused",
            f"_weight_norm: g has the shape {given} and v has the shape {list(map(str, shape))}; "
            f"expected g of the shape {expected} with v's type, and v not empty",
        )
    others = [axis for axis in range(v.dim()) if axis != dim]
    norm: Tensor = aten.linalg_vector_norm.default(v, 2, others, True) if others else aten.abs.default(v)
    return v * (g / norm)
