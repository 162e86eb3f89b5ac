"""`aten.embedding_bag` as a look-up of rows and a sum over each bag.

`offsets` holds the position at which each bag begins. Bag b has the rows from offsets[b] up to
offsets[b + 1].
"""

import torch
from torch import Tensor

from unitrank_engine.errors import EngineError

aten = torch.ops.aten

SUM, MEAN, MAX = 0, 1, 2
"""The numbers of the modes in ATen."""


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The bags, the bag of each row, the number of rows in each bag, and zeros.

    The operator's last result, the positions of maxima, serves its gradient alone. The gradient of
    a maximum is shared by equal rows. `scale_grad_by_freq` and `sparse` change no value.

    Raises EngineError `weights_refused` for shapes, and `program_refused` for a mode.
    """
    _check(weight, indices, offsets, mode, per_sample_weights)
    indices, offsets = (aten._to_copy.default(tensor, dtype=torch.int64) for tensor in (indices, offsets))
    bags = offsets.shape[0] - int(include_last_offset)
    positions = aten.arange.default(indices.shape[0], device=indices.device)
    bag = aten.bucketize.Tensor(positions, offsets, right=True) - 1
    rows = aten.embedding.default(weight, indices)
    if per_sample_weights is not None:
        rows = rows * aten.unsqueeze.default(per_sample_weights, 1)
    counted = aten.ones_like.default(indices)
    if padding_idx is not None:
        padding = padding_idx + weight.shape[0] if padding_idx < 0 else padding_idx
        counted = aten.ne.Scalar(indices, padding)
        fill = -torch.inf if mode == MAX else 0.0
        rows = aten.masked_fill.Scalar(rows, aten.eq.Scalar(indices, padding).unsqueeze(1), fill)
        counted = aten._to_copy.default(counted, dtype=torch.int64)
    # The rows behind the last offset are in a further bag, which is left out.
    zeros = aten.new_zeros.default(rows, [offsets.shape[0], weight.shape[1]])
    sizes = aten.index_add.default(aten.new_zeros.default(counted, [offsets.shape[0]]), 0, bag, counted)
    sizes, every = aten.slice.Tensor(sizes, 0, 0, bags), aten.unsqueeze.default(bag, 1)
    if mode == MAX:
        result = aten.scatter_reduce.two(zeros, 0, aten.expand_as.default(every, rows), rows, "amax", include_self=False)
        empty = aten.unsqueeze.default(aten.eq.Scalar(sizes, 0), 1)
        result = aten.masked_fill.Scalar(aten.slice.Tensor(result, 0, 0, bags), empty, 0.0)
    else:
        result = aten.slice.Tensor(aten.index_add.default(zeros, 0, bag, rows), 0, 0, bags)
    if mode == MEAN:
        result = result / aten.unsqueeze.default(aten.clamp_min.default(sizes, 1), 1)
    return result, bag, sizes, aten.zeros_like.default(sizes)


def _check(weight: Tensor, indices: Tensor, offsets: Tensor, mode: int, per_sample_weights: Tensor | None) -> None:
    shapes = {"weight": weight.dim(), "indices": indices.dim(), "offsets": offsets.dim()}
    whole = all(tensor.dtype in (torch.int64, torch.int32) for tensor in (indices, offsets))
    if list(shapes.values()) != [2, 1, 1] or not whole or offsets.shape[0] == 0:
        described = ", ".join(f"{name} has {axes} axes" for name, axes in shapes.items())
        raise EngineError(
            "weights_refused",
            f"embedding_bag: {described}, indices are {indices.dtype} and offsets {offsets.dtype}; "
            "expected two axes for weight, one for indices and offsets, whole numbers in both, and at least one offset",
        )
    if mode not in (SUM, MEAN, MAX) or (per_sample_weights is not None and mode != SUM):
        raise EngineError(
            "program_refused",
            f"embedding_bag has the mode {mode}; expected 0 (sum), 1 (mean) or 2 (max), and 0 with weights for each row",
        )
    if per_sample_weights is not None and str(list(per_sample_weights.shape)) != str(list(indices.shape)):
        raise EngineError(
            "weights_refused",
            f"embedding_bag: per_sample_weights has the shape {list(per_sample_weights.shape)}; "
            f"expected the shape of indices, {list(indices.shape)}",
        )
