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

from unitrank_engine.methods.batch import Batch, gradients_of
from unitrank_engine.program.split import Live
from unitrank_schemas.methods import Noise


def smoothed(batches: Sequence[Batch], noise: Noise, *, squared: bool) -> list[Float[Tensor, "rows *place"]]:
    """Return the mean gradient over the samples, or with `squared` the root of its mean square.

    `batches`: one batch for each target; all have the same examples and share the forward passes.

    An example's noise depends on the job's seed and the example's row only. The batch's other
    examples and the number of samples in one pass do not change it.
    """
    batch = batches[0]
    rows = len(batch.rows)
    generators = [batch.context.streams.generator("smoothing", int(row)) for row in batch.rows]
    samples_at_once = max(1, batch.size // rows)
    totals: list[Tensor] = []
    for first in range(0, noise.samples, samples_at_once):
        times = min(samples_at_once, noise.samples - first)
        copies = [_noisy(batch, noise.level, generators) for _ in range(times)]
        h, live = batch.context.split.head(tuple(torch.cat(tensors) for tensors in zip(*copies, strict=True)))
        parts = [_summed(slope, times, squared=squared) for slope in _slopes(batches, h, live, times)]
        totals = [total + part for total, part in zip(totals, parts, strict=True)] if totals else parts
    means = [total / noise.samples for total in totals]
    return [(mean.sqrt() if squared else mean).to(torch.promote_types(h.dtype, torch.float32)) for mean in means]


def _slopes(batches: Sequence[Batch], h: Tensor, live: Live, times: int) -> list[Tensor]:
    """Return ∂F/∂h of each target; h has all rows once, then all rows again, `times` times."""
    split, h = batches[0].context.split, h.detach().requires_grad_()
    output = split.tail(h, live)
    f = [batch.context.score(output, batch.ends.fixed.repeat(times)) for batch in batches]
    slopes = list(gradients_of(f, h))
    batches[0].count(len(h), backward=len(batches), targets=len(batches))
    return slopes


def _summed(slopes: Tensor, times: int, *, squared: bool) -> Tensor:
    """Return the sum over the samples, in float64."""
    samples = slopes.double().reshape(times, -1, *slopes.shape[1:])
    return (samples**2 if squared else samples).sum(0)


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
