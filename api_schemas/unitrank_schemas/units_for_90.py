"""The number of first units that keep 90 % of the score, over several clusters."""

from collections.abc import Iterable
from math import inf
from statistics import median_high


def median_units_for_90(counts: Iterable[int | None]) -> int | None:
    """Return the upper median: this number of units suffices in more than half of the clusters.

    None where at least half of the clusters need more units than were tested, and without clusters.

    `counts`: `units_for_90` of each cluster; None counts as more than all.

    >>> median_units_for_90([10, 30, None, 20])
    30
    """
    middle = median_high([inf if count is None else count for count in counts] or [inf])
    return None if middle == inf else int(middle)
