"""The top of a ranking on one cluster: its first units, with their intervals and `in_top`."""

from collections.abc import Sequence
from itertools import chain, repeat
from math import isnan

import numpy as np
from scipy import stats

from unitrank_engine.attribution.scores import MethodScores
from unitrank_schemas import results as schema
from unitrank_schemas.methods import MOST_ENUMERATED, Statistic
from unitrank_tables.top_units import top_units

TOP = 20
"""Units of each ranking in the summary; the arrays have all."""
STABLE = 0.95
"""Share of the bootstrap draws from which a unit at the top is stable."""
LEVEL = 0.95
"""Confidence level of the intervals in a job without ablation."""


def top(scores: MethodScores, statistic: Statistic, cluster: int, shape: Sequence[int], level: float) -> list[schema.Unit]:
    """Return the first units.

    `shape`: shape of the layer's units.
    `level`: confidence level of the intervals.
    """
    moments = scores.sums.of_cluster(cluster)
    units = top_units(moments.importance(statistic), moments.spread(statistic), shape, TOP)
    shares = scores.in_top[statistic][cluster].tolist() if statistic in scores.in_top else []
    widths = _half_widths(scores, statistic, cluster, level)
    result = []
    for unit, share in zip(units, chain(shares, repeat(np.nan)), strict=False):
        importance, width = unit["importance"], float(widths[unit["unit"]])
        low, high = (None, None) if isnan(width) else (importance - width, importance + width)
        in_top = None if isnan(share) else share
        result.append(schema.Unit(**unit, importance_low=low, importance_high=high, in_top=in_top))
    return result


def stable_top(units: Sequence[schema.Unit]) -> list[int] | None:
    """Return the numbers of the stable units; None without `in_top`."""
    shares = [(unit.unit, unit.in_top) for unit in units if unit.in_top is not None]
    return [unit for unit, share in shares if share >= STABLE] if shares else None


def _half_widths(scores: MethodScores, statistic: Statistic, cluster: int, level: float) -> np.ndarray:
    """Return the half width of the interval of each unit's importance; NaN without an interval.

    Where scores are estimates from a sample, the interval is that of their standard errors, over
    samples. Else it is the t interval of a mean, over examples.
    """
    moments = scores.sums.of_cluster(cluster)
    if scores.errors is not None and len(moments.s) > MOST_ENUMERATED:
        return scores.errors.half_widths(scores.sums, statistic, cluster, level)
    if moments.m < 2:
        return np.full_like(moments.s, np.nan)
    return np.asarray(stats.t.ppf((1 + level) / 2, moments.m - 1) / np.sqrt(moments.m) * moments.spread(statistic))
