"""Arrays as JSON numbers."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def finite(values: ArrayLike) -> Any:  # Any: nested lists
    """The values as lists, with None for numbers that are not finite.

    >>> finite([1.0, float("nan")])
    [1.0, None]
    """
    numbers = np.asarray(values, np.float64)
    if np.isfinite(numbers).all():
        return numbers.tolist()
    some = numbers.astype(object)
    some[~np.isfinite(numbers)] = None
    return some.tolist()
