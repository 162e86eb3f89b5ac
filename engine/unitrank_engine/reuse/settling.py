"""Decides whether a sampled ranking needs another round with more samples."""

import numpy as np

from unitrank_engine.attribution.scores import MethodScores
from unitrank_schemas.methods import Statistic
from unitrank_tables.top_units import highest


def settled(scores: MethodScores, statistic: Statistic, count: int, level: float) -> bool:
    """Return whether the intervals of the highest units overlap with no other unit's interval.

    This must hold in every cluster.

    `count`: the number of the highest units. `level`: confidence level of the intervals.
    """
    assert scores.errors is not None
    for cluster in range(scores.errors.sums.shape[1]):
        importance = scores.sums.of_cluster(cluster).importance(statistic)
        widths = scores.errors.half_widths(scores.sums, statistic, cluster, level)
        others = np.ones(len(importance), bool)
        others[highest(importance, count)] = False
        lowest = (importance - widths)[~others].min()
        # NaN, where an interval is not known, is never smaller.
        if others.any() and not (importance + widths)[others].max() <= lowest:
            return False
    return True
