"""SmoothGrad: the gradient averaged over noisy copies of the input (arXiv:1706.03825), or its square (arXiv:1806.10758)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import Batch
from unitrank_schemas.methods import Noise


def smoothed(batch: Batch, noise: Noise, *, squared: bool) -> Float[Tensor, "rows *place"]:
    """The mean gradient over the samples; `squared`: the root of its mean square.

    An example's noise is drawn from the job's seed and the example's row, so that neither its batch mates nor the number
    of samples in one pass matter.
    """
    rows = len(batch.rows)
    generators = [batch.context.streams.generator("smoothing", int(row)) for row in batch.rows]
    together = max(1, batch.size // rows)
    total: Tensor | None = None
    for first in range(0, noise.samples, together):
        times = min(together, noise.samples - first)
        copies = [_noisy(batch, noise.level, generators) for _ in range(times)]
        h, live = batch.context.split.head(tuple(torch.cat(tensors) for tensors in zip(*copies, strict=True)))
        slopes = batch.slope(h, live, batch.ends.fixed.repeat(times)).double()
        slopes = slopes.reshape(times, rows, *slopes.shape[1:])
        part = (slopes**2 if squared else slopes).sum(0)
        total = part if total is None else total + part
    assert total is not None
    mean = total / noise.samples
    return (mean.sqrt() if squared else mean).to(torch.promote_types(h.dtype, torch.float32))


def _noisy(batch: Batch, level: float, generators: Sequence[np.random.Generator]) -> list[Tensor]:
    """The inputs with noise of σ = level · (max − min) of each example's own values; integers stay as they are."""
    return [_shaken(x, level, generators) if x.is_floating_point() else x for x in batch.ends.x]


def _shaken(x: Tensor, level: float, generators: Sequence[np.random.Generator]) -> Tensor:
    drawn = np.stack([generator.standard_normal(x.shape[1:], dtype=np.float32) for generator in generators])
    flat = x.flatten(1) if x.dim() > 1 else x[:, None]
    sigma = level * (flat.amax(1) - flat.amin(1)).reshape(-1, *[1] * (x.dim() - 1))
    return x + sigma * torch.from_numpy(drawn).to(x)
