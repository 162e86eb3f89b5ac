"""Projections of each example's scores on 16 fixed random directions.

They are linear: the projection of a mean is the mean of the projections. So they show whether given
scores are the mean over the first m examples, for every m, without the scores of single examples.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.attribution.scores import score_key
from unitrank_engine.attribution.statistics import SCORES_AT_ONCE
from unitrank_engine.job.context import JobContext
from unitrank_schemas.methods import MethodBase, Statistic

DIRECTIONS = 16
SEED = 17
MOST_PROJECTED = 2**17
"""Rows of a job, from the first one on, whose projections are kept, at most."""
AVERAGED: Mapping[Statistic, Callable[[Tensor], Tensor]] = {"mean": lambda s: s, "mean_abs": torch.abs, "rms": torch.square}
"""Statistic → the function of the scores that it averages."""


@cache
def directions(units: int) -> Float[np.ndarray, "units 16"]:
    """Return the directions; they depend on the number of units alone."""
    return np.random.default_rng([SEED, units]).standard_normal((units, DIRECTIONS))


class Projector:
    """Projects scores, on the device where they are."""

    def __init__(self, units: int, device: torch.device) -> None:
        self._directions = torch.from_numpy(directions(units)).to(device)

    def project(self, scores: Float[Tensor, "rows units"], statistic: Statistic) -> Float[np.ndarray, "rows 16"]:
        """Return the projections of the values that the statistic averages."""
        pieces = torch.split(scores, max(1, SCORES_AT_ONCE // scores.shape[1]))
        return np.asarray(torch.cat([AVERAGED[statistic](piece.double()) @ self._directions for piece in pieces]).cpu().numpy())


def last_projected(context: JobContext) -> int:
    """Return the last dataset row whose projections are kept."""
    return int(context.all_rows()[:MOST_PROJECTED][-1])


def projected_statistics(requested: Sequence[MethodBase], entries: Sequence[MethodBase]) -> dict[str, list[Statistic]]:
    """Return `score_key` → the statistics whose projections are kept, for each computed method.

    `requested`: all methods of the job; without given scores no projection is kept.
    `entries`: the methods to compute.
    """
    if not any(entry.name == "given" for entry in requested):
        return {}
    statistics: dict[str, set[Statistic]] = {}
    for entry in entries:
        if entry.name != "given":
            statistics.setdefault(score_key(entry), set()).add(entry.statistic)
    return {key: sorted(values) for key, values in statistics.items()}
