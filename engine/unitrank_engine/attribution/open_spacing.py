"""A spacing that the request leaves open is tried on the job's first rows."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from unitrank_engine.attribution.examples.sums import MAX_GAP, GapSums
from unitrank_engine.job.clusters.range_members import RangeMembers
from unitrank_engine.job.context import JobContext, first_rows


@dataclass(frozen=True)
class PathsNotResolved:
    """The spacing that a request leaves open does not resolve the paths of the first examples.

    `keys`: `score_key` of the methods.
    """

    keys: Collection[str]


def first_examples(context: JobContext, part: RangeMembers) -> np.ndarray:
    """Return the examples of a range with the job's first rows, ascending."""
    return np.flatnonzero(part.rows <= context.once(first_rows)[-1])


def resolved(gaps: GapSums | None) -> bool:
    """Return whether the method's points resolve the paths of the job's first examples."""
    assert gaps is not None
    return max(gaps.relative_of_first()) <= MAX_GAP
