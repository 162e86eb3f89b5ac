"""A spacing that the request leaves open is tried on the job's first rows."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from unitrank_engine.attribution.scores import MAX_GAP, MethodScores
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.job.context import JobContext, first_rows


@dataclass(frozen=True)
class PathsNotResolved:
    """The spacing that a request leaves open does not resolve the paths of the first examples.

    `keys`: `score_key` of the methods.
    """

    keys: Collection[str]


def first_examples(context: JobContext, membership: Membership) -> np.ndarray:
    """Return the examples of the main pass with the job's first rows, ascending."""
    return np.flatnonzero(np.isin(membership.rows, first_rows(context)))


def resolved(context: JobContext, scores: MethodScores, membership: Membership) -> bool:
    """Return whether the method's points resolve the paths of the job's first examples."""
    assert scores.path_gaps is not None
    return max(scores.path_gaps.relative(first_examples(context, membership))) <= MAX_GAP
