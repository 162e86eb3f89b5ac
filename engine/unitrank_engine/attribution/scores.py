"""What the main pass leaves behind: the sums of each method, and what single examples are needed for."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase


@dataclass(frozen=True)
class Errors:
    """Predicted and actual drops of one ranking."""

    predicted: np.ndarray
    actual: np.ndarray

    @property
    def absolute(self) -> np.ndarray:
        return np.asarray(np.abs(self.predicted - self.actual))


@dataclass
class Scored:
    """What one method left: sums for each half of each cluster, and what single examples are needed for."""

    entry: MethodBase
    sums: Sums
    totals: np.ndarray
    """The sum of each example's scores."""
    kept: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    notes: Notes = field(default_factory=Notes)
    seconds: float = 0.0


@dataclass
class PerExample:
    """Values of each example that do not depend on the method, one row an example in the order of `Membership`."""

    f: np.ndarray
    f_baseline: np.ndarray
    classes: np.ndarray
    right: np.ndarray | None
    flat: np.ndarray
    """Whether the gradient at the input was exactly zero; all False where no method looked."""
    at_baseline: np.ndarray
    """Whether the example is its own baseline."""

    @classmethod
    def empty(cls, n: int) -> "PerExample":
        return cls(np.zeros(n), np.zeros(n), np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool))


@dataclass(frozen=True)
class Attribution:
    """The result of the main pass."""

    membership: Membership
    scored: dict[str, Scored]
    """By the key of the scores."""
    examples: PerExample


def score_key(entry: MethodBase) -> str:
    """The same for entries with the same scores: the statistic and the id do not matter, but the control goes by its id."""
    excluded = {"statistic"} if entry.seeded_by_id else {"statistic", "id"}
    if getattr(entry, "noise", None) is not None and entry.statistic == "rms":
        excluded = {"id"}  # SmoothGrad's square
    return entry.model_dump_json(exclude=excluded)
