"""The two halves of a cluster: one gives the ranking, the other puts it to the test."""

from dataclasses import dataclass

import numpy as np

from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_tables import Table


@dataclass(frozen=True)
class Halves:
    """Which member of a cluster is on which side, and the members that ablation looks at."""

    sides: np.ndarray
    """0 or 1 for each member."""
    tested: np.ndarray
    """Positions of members, at most as many as the job allows."""
    ranked_on: int
    in_sample: bool


def halve(cluster: ClusterRows, rule: str, limit: int, table: Table, streams: RandomStreams) -> Halves:
    """The first ⌈n/2⌉ members in seeded order rank, the others test; or whole groups of a field's equal values do.

    `none` tests on all members what all members ranked; its halves serve the stability alone.
    """
    order = streams.generator("split", cluster.name).permutation(len(cluster.rows))
    half = (len(order) + 1) // 2
    ranking = order[:half] if rule in ("half", "none") else _whole_groups(table.read(rule, cluster.rows), order, half)
    sides = np.ones(len(order), dtype=np.int64)
    sides[ranking] = 0
    in_sample = rule == "none"
    tested = order if in_sample else order[sides[order] == 1]
    return Halves(sides, tested[:limit], len(order) if in_sample else int((sides == 0).sum()), in_sample)


def _whole_groups(values: np.ndarray, order: np.ndarray, half: int) -> np.ndarray:
    """Members of groups in seeded order until half of the members are reached."""
    _, which, sizes = np.unique(values, return_inverse=True, return_counts=True)
    _, first = np.unique(which[order], return_index=True)
    groups = np.argsort(first)
    enough = int(np.searchsorted(np.cumsum(sizes[groups]), half)) + 1
    return np.flatnonzero(np.isin(which, groups[:enough]))
