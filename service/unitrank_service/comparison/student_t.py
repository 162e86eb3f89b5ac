"""Quantiles of Student's t distribution. The service has no SciPy.

With t = √ν · tan θ, the distribution function is 1/2 + ∫₀^θ cos^(ν−1) / ∫ cos^(ν−1) over all θ.
"""

from math import exp, lgamma, pi, sqrt, tan

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)
_ROUNDS = 60
"""Rounds of bisection: more than the bits of a float64."""


def t_quantile(probability: float, freedom: int) -> float:
    """Return the t below which the distribution has the `probability`, at least 1/2.

    `freedom`: ν, the degrees of freedom; at least 1.

    >>> round(t_quantile(0.975, 9), 6)
    2.262157
    """
    density = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(pi)

    def share(angle: float) -> float:
        nodes = angle / 2 * (_NODES + 1)
        return float(0.5 + density * angle / 2 * (_WEIGHTS @ np.cos(nodes) ** (freedom - 1)))

    low, high = 0.0, pi / 2
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) < probability else (low, middle)
    return sqrt(freedom) * tan(low)
