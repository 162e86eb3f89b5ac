"""Scores for every class at once, from the forward passes of one class; not part of the HTTP API.

A job explains one class of each example. These functions explain all classes of the same examples
with the same baseline: each point of the path passes forward once, then backward once for each
class.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.baselines import Baselines, Inputs
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import expanded
from unitrank_engine.job.targets import Fixed, logits
from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.exact_ablation.replacing import Plan, outputs
from unitrank_engine.methods.path.sums import PathSum, change_of_h, gradient_points
from unitrank_engine.methods.path.walk import InputWalk
from unitrank_schemas.methods import PathMethod

Scores = Float[Tensor, "classes rows *place"]


def conductances(context: JobContext, baselines: Baselines, entry: PathMethod, rows: np.ndarray, size: int) -> Iterator[Scores]:
    """Yield conductance of every class's logit, in batches of `size` examples.

    `rows`: numbers of the examples in the dataset.
    """
    for first in range(0, len(rows), size):
        x, start = _ends(context, baselines, rows[first : first + size])
        yield _conductance(context, entry, x, start)


def losses(context: JobContext, baselines: Baselines, rows: np.ndarray, size: int) -> Iterator[Float[Tensor, "classes rows units"]]:
    """Yield exact ablation of every class's logit (fill `baseline`), in batches of `size` examples.

    `rows`: numbers of the examples in the dataset.
    """
    plan = Plan.of(context)
    for first in range(0, len(rows), size):
        x, start = _ends(context, baselines, rows[first : first + size])
        (h, live), (fill, _) = context.split.head(x), context.split.head(start)
        with torch.no_grad():
            whole = logits(context.split.tail(h, live))
        parts = [
            whole - output.reshape(len(output), *whole.shape)
            for _, output in outputs(context, plan, x, (h, live), fill, lambda rows, *, backward: None)
        ]
        yield torch.cat(parts).movedim(-1, 0).movedim(1, 2)


def _classes(context: JobContext) -> int:
    shape = context.program.outputs[context.output].shape
    return (shape[1] or 1) if len(shape) > 1 else 1


def _ends(context: JobContext, baselines: Baselines, rows: np.ndarray) -> tuple[Inputs, Inputs]:
    x = context.examples.inputs(rows)
    return x, expanded(baselines.of(rows, None, x), len(rows))


def _conductance(context: JobContext, entry: PathMethod, x: Inputs, start: Inputs) -> Scores:
    rows = torch.zeros(len(x[0]), dtype=torch.long, device=context.device)
    walk = InputWalk(
        context=context,
        fixed=Fixed(rows, rows),
        size=len(rows),
        count=lambda rows, *, backward: None,
        precision="float32",
        start=start,
        end=x,
        affine_start=context.split.affine(start),
        affine_end=context.split.affine(x),
    )
    sums: list[PathSum] = []
    for alpha, needed in gradient_points(entry).items():
        h, live = walk.at([alpha])
        h = h.detach().requires_grad_(needed)
        output = logits(context.split.tail(h, live)) if needed else None
        sums = sums or [PathSum(entry, change_of_h) for _ in range(_classes(context))]
        for number, each in enumerate(sums):
            gradient = None
            if output is not None:
                (gradient,) = torch.autograd.grad(output[:, number].sum(), h, retain_graph=number + 1 < len(sums))
            each.take(Point(alpha, h.detach(), gradient))
    return torch.stack([each.total() for each in sums])
