"""Keeping the first units of an order, with all other units replaced.

Deletion asks which units F needs; keeping asks which units suffice for F. S₀ is the mean F with no
unit replaced, S_n with all units replaced, and F(keep k) with all units but the first k replaced.

Each function takes S₀ − S_n as `total`, and returns None where it is None: where the cluster's area
is null, because the divisor is close to zero.
"""

import numpy as np
from jaxtyping import Float

SHARE = 0.9
"""The share of S₀ − S_n that `units_for_90` asks for."""


def keep_area(kept: Float[np.ndarray, " counts"], *, intact: float, total: float | None) -> float | None:
    """Return 1 − the mean, over the counts, of (S₀ − F(keep k)) / (S₀ − S_n).

    1: the first units alone give the whole score at every count.

    `kept`: F(keep k) at each count k.
    `intact`: S₀.

    >>> keep_area(np.array([4.0, 8.0]), intact=10.0, total=8.0)  # losses 6/8 and 2/8
    0.5
    """
    return None if total is None else 1.0 - float((intact - kept).mean()) / total


def srg(*, most: float, least: float, total: float | None) -> float | None:
    """Return (D of the order `most` − D of the order `least`) / (S₀ − S_n).

    >>> srg(most=6.0, least=2.0, total=8.0)
    0.5
    """
    return None if total is None else (most - least) / total


def units_for_90(counts: list[int], kept: Float[np.ndarray, " counts"], *, intact: float, total: float | None) -> int | None:
    """Return the smallest count from which every count keeps 90 % of S₀ − S_n; else None.

    `counts`: numbers of units that keep their value, ascending.

    >>> units_for_90([1, 2, 5, 9], np.array([9.5, 4.0, 9.2, 9.9]), intact=10.0, total=10.0)
    5
    """
    if total is None:
        return None
    smallest = None
    for count, score in zip(reversed(counts), reversed(kept.tolist()), strict=True):
        if score < intact - total + SHARE * total:
            break
        smallest = count
    return smallest
