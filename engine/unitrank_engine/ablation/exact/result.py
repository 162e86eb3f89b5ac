"""The results of the exact tests of one ranking."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unitrank_schemas.results import Verified


@dataclass(frozen=True)
class ExactResult:
    """The exact tests of one ranking. A test that the request does not ask for is None."""

    verified: list[Verified | None] | None
    """For each cluster; None for a cluster without test examples."""
    pairs: np.ndarray | None
    """The second differences, `[clusters, k, k]`."""
    effects: Mapping[str, np.ndarray] | None = None
    """The verified `units` and their `effects`, `[clusters, units]`; None without `verify`."""
