"""Scores of a batch with the spacing `adaptive`, from bisections that fit into memory."""

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.batch import Batch, PathGap
from unitrank_engine.methods.path.bisection import Bisection
from unitrank_engine.methods.path.refinement import KEPT_BYTES, MOST_STEPS, decidable, warn_of_tolerance
from unitrank_engine.methods.path.sums import StepFactor
from unitrank_engine.methods.path.walk import Walk
from unitrank_schemas.methods import MOST_POINT_BYTES, PathMethod


def adaptive_scores(method: PathMethod, step: StepFactor, batch: Batch, walk: Walk) -> tuple[Float[Tensor, "rows *place"], PathGap]:
    """Return the scores and gaps of all examples of the batch.

    With a tolerance, the number of steps is doubled for each example until its gap meets the
    tolerance; the points that it has are used again.
    """
    h, count, row_bytes = batch.ends.input.h, len(batch.ends.f), walk.row_bytes
    scores = torch.zeros_like(h, dtype=torch.promote_types(h.dtype, torch.float32))
    gaps = PathGap(*(torch.zeros(count, dtype=torch.float64, device=h.device) for _ in range(3)))
    testable = decidable(batch.ends)
    waiting = [(Bisection(walk, method, torch.arange(count, device=h.device)), method.steps)]
    while waiting:
        bisection, steps = waiting.pop()
        rows = bisection.rows
        if len(rows) > 1 and len(rows) * row_bytes * (steps + 1) > KEPT_BYTES:
            waiting += [(bisection.of(half.to(rows.device)), steps) for half in torch.arange(len(rows)).tensor_split(2)]
            continue
        bisection.extend(steps)
        scores[rows], measured = bisection.total(step)
        for name in ("gap", "change", "hidden"):
            getattr(gaps, name)[rows] = getattr(measured, name)
        if method.tolerance is None:
            continue
        batch.notes.maximum("steps", steps)
        missed = (measured.gap > method.tolerance * measured.change) & testable[rows] & measured.gap.isfinite()
        if not missed.any():
            continue
        if 2 * steps > MOST_STEPS or 2 * steps * row_bytes > MOST_POINT_BYTES:
            warn_of_tolerance(batch.notes, method, steps)
        else:
            waiting.append((bisection.of(missed.nonzero()[:, 0]), 2 * steps))
    return scores, gaps
