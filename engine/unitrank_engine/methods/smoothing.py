"""SmoothGrad averages the gradient over noisy copies of the input (arXiv:1706.03825).

g = mean over samples of ∂F/∂h at x + ε, ε ~ N(0, σ²), σ = level · (max − min of the example's
input). SmoothGrad² averages the squared gradient instead (arXiv:1806.10758); here its root is
returned. Cost: one forward and one backward pass for each sample.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import Batch
from unitrank_schemas.methods import Noise


def smoothed(batch: Batch, noise: Noise, *, squared: bool) -> Float[Tensor, "rows *place"]:
    """Return the mean gradient over the samples, or with `squared` the root of its mean square.

    An example's noise depends on the job's seed and the example's row only. The batch's other
    examples and the number of samples in one pass do not change it.
    """
    rows = len(batch.rows)
    generators = [batch.context.streams.generator("smoothing", int(row)) for row in batch.rows]
    samples_at_once = max(1, batch.size // rows)
    total: Tensor | None = None
    for first in range(0, noise.samples, samples_at_once):
        times = min(samples_at_once, noise.samples - first)
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
    """Return one noisy copy of the inputs; integer inputs and held inputs get no noise."""
    held = batch.context.held
    return [
        _with_noise(x, level, generators) if x.is_floating_point() and position not in held else x
        for position, x in enumerate(batch.ends.x)
    ]


def _with_noise(x: Tensor, level: float, generators: Sequence[np.random.Generator]) -> Tensor:
    """Add noise of σ = level · (max − min) to each example, with the range of its own values."""
    drawn = np.stack([generator.standard_normal(x.shape[1:], dtype=np.float32) for generator in generators])
    flat = x.flatten(1) if x.dim() > 1 else x[:, None]
    sigma = level * (flat.amax(1) - flat.amin(1)).reshape(-1, *[1] * (x.dim() - 1))
    return x + sigma * torch.from_numpy(drawn).to(x)
