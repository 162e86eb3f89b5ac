"""Divides each cluster in two halves.

One half ranks the units, and the other half tests the ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.hashed_order import MOST_PERMUTED, HashedOrder, blocks, shuffled
from unitrank_engine.job.clusters.rows import Rows
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_tables import Table


@dataclass(frozen=True)
class Halves:
    """The side of each member of a cluster, and the members that ablation tests.

    `ranked_on`: the number of members that the ranking uses.
    `in_sample`: whether the ranking is tested on the members that it was made from.
    `all_marked`: whether every member made given scores.
    """

    sides: np.ndarray
    """For each member 0 (ranks) or 1 (tests). Empty where the column of a large job has them."""
    tested: np.ndarray
    """Positions of members, at most the number that the job allows."""
    ranked_on: int
    in_sample: bool
    all_marked: bool = False


def halve(
    cluster: ClusterRows,
    rule: str,
    limit: int,
    table: Table,
    streams: RandomStreams,
    *,
    made_on: Sequence[str] = (),
    brought: bool = False,
) -> Halves:
    """The halves of a cluster.

    The rule decides which members rank and which test:

    - `half`: the first ⌈n/2⌉ members in seeded order rank, and the other members test.
    - The name of a field: as `half`, but members with equal values of the field stay in one half.
    - `none`: all members rank and all members test. The halves serve only to measure the stability
      of the ranking.

    Marked members made scores that came with the job, so they never test: they are the first that
    rank. Whole groups are marked where the rule is a field.

    A cluster of more than 10⁷ members has no seeded order: a keyed hash of each member's row, or of
    the first row of its group, decides its half. The halves are equal to within chance.

    `limit`: the number of members that test, at most.
    `made_on`: boolean fields; a member is marked where one of them is true.
    `brought`: whether no ranking of the job is made from its examples. All unmarked members test
        then. The first half still serves as the ranking side of the controls.
    """
    rows = cluster.rows
    groups = None if rule in ("half", "none") else _read(table, rule, rows)
    marked = _marked(table, rows, made_on, groups)
    in_sample = rule == "none" and not brought
    tests_all = in_sample or brought
    if len(rows) > MOST_PERMUTED:
        hashed = HashedOrder(streams.generator("split", cluster.name))
        sides = _hashed_sides(hashed, rows, groups, marked)
        tests = None if tests_all and marked is None else ~marked if tests_all and marked is not None else sides.view(bool)
        tested = hashed.first(rows, min(limit, len(rows)), tests)
    else:
        order = shuffled(streams.generator("split", cluster.name), len(rows))
        sides = _permuted_sides(order, groups, marked)
        tested = _first(order, limit, marked if tests_all else sides == 0)
    return _halves(sides, tested, marked, in_sample=in_sample, brought=brought)


def _halves(sides: np.ndarray, tested: np.ndarray, marked: np.ndarray | None, *, in_sample: bool, brought: bool) -> Halves:
    count = 0 if marked is None else int(marked.sum())
    ranked_on = len(sides) if in_sample else count if brought else len(sides) - int(np.count_nonzero(sides))
    return Halves(sides, tested, ranked_on, in_sample, count == len(sides))


def _permuted_sides(order: np.ndarray, groups: np.ndarray | None, marked: np.ndarray | None) -> np.ndarray:
    """The side of each member, as numbers of one byte."""
    half = (len(order) + 1) // 2
    if marked is not None:
        order = np.concatenate([order[marked[order]], order[~marked[order]]])
        half = max(half, int(marked.sum()))
    sides = np.ones(len(order), dtype=np.int8)
    sides[order[:half] if groups is None else _whole_groups(groups, order, half)] = 0
    return sides


def _first(order: np.ndarray, count: int, excluded: np.ndarray | None) -> np.ndarray:
    """The first members in the order that are not excluded. `count`: their number, at most."""
    first = np.zeros(0, dtype=np.int64)
    for block in blocks(len(order)):
        members = order[block]
        first = np.concatenate([first, members if excluded is None else members[~excluded[members]]])[:count]
        if len(first) == count:
            break
    # A copy, because a view would keep the whole block.
    return first.copy()


def _hashed_sides(hashed: HashedOrder, rows: Rows, groups: np.ndarray | None, marked: np.ndarray | None) -> np.ndarray:
    """The side of each member, as numbers of one byte."""
    count = 0 if marked is None else int(marked.sum())
    share = max(0.0, ((len(rows) + 1) // 2 - count) / max(len(rows) - count, 1))
    if groups is not None:
        _, first, group_of_member = np.unique(groups, return_index=True, return_inverse=True)
        ranks = hashed.below(rows[first], share)[group_of_member]
    else:
        ranks = hashed.below(rows, share)
    if marked is not None:
        ranks |= marked
    sides: np.ndarray = np.logical_not(ranks, out=ranks).view(np.int8)
    return sides


def _read(table: Table, field: str, rows: Rows) -> np.ndarray:
    """The values of a field for these rows, which are read in blocks."""
    return np.concatenate([table.read(field, rows[block]) for block in blocks(len(rows))] or [table.read(field, rows[:0])])


def _marked(table: Table, rows: Rows, made_on: Sequence[str], groups: np.ndarray | None) -> np.ndarray | None:
    """Which members made given scores; with groups, all members of their groups.

    None where no field marks rows.
    """
    if not made_on:
        return None
    marked = np.zeros(len(rows), dtype=bool)
    for field in made_on:
        for block in blocks(len(rows)):
            marked[block] |= table.read(field, rows[block]).astype(bool)
    return marked if groups is None else np.isin(groups, groups[marked])


def _whole_groups(values: np.ndarray, order: np.ndarray, half: int) -> np.ndarray:
    """The members of whole groups, taken in seeded order until `half` members are reached."""
    _, group_of_member, sizes = np.unique(values, return_inverse=True, return_counts=True)
    _, first = np.unique(group_of_member[order], return_index=True)
    groups = np.argsort(first)
    enough = int(np.searchsorted(np.cumsum(sizes[groups]), half)) + 1
    return np.flatnonzero(np.isin(group_of_member, groups[:enough]))
