"""Divides each cluster in two halves.

One half ranks the units, and the other half tests the ranking.
"""

from dataclasses import dataclass

import numpy as np

from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_tables import Table


@dataclass(frozen=True)
class Halves:
    """The side of each member of a cluster, and the members that ablation tests.

    `ranked_on`: the number of members that the ranking uses.
    `in_sample`: whether the ranking is tested on the members that it was made from.
    """

    sides: np.ndarray
    """For each member 0 (ranks) or 1 (tests)."""
    tested: np.ndarray
    """Positions of members, at most the number that the job allows."""
    ranked_on: int
    in_sample: bool


def halve(cluster: ClusterRows, rule: str, limit: int, table: Table, streams: RandomStreams) -> Halves:
    """The halves of a cluster.

    The rule decides which members rank and which test:

    - `half`: the first ⌈n/2⌉ members in seeded order rank, and the other members test.
    - The name of a field: as `half`, but members with equal values of the field stay in one half.
    - `none`: all members rank and all members test. The halves serve only to measure the stability
      of the ranking.

    `limit`: the number of members that test, at most.
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
    """The members of whole groups, taken in seeded order until `half` members are reached."""
    _, group_of_member, sizes = np.unique(values, return_inverse=True, return_counts=True)
    _, first = np.unique(group_of_member[order], return_index=True)
    groups = np.argsort(first)
    enough = int(np.searchsorted(np.cumsum(sizes[groups]), half)) + 1
    return np.flatnonzero(np.isin(group_of_member, groups[:enough]))
