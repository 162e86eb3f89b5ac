"""Divides each cluster in two halves.

One half ranks the units, and the other half tests the ranking.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unitrank_engine.job.clusters.field_groups import FieldGroups
from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.hashed_order import MOST_PERMUTED, HashedOrder, SeededOrder, blocks
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
    sides: np.ndarray | None = None,
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
    its value of the field, decides its half. The halves are equal to within chance.

    `limit`: the number of members that test, at most.
    `made_on`: boolean fields; a member is marked where one of them is true.
    `brought`: whether no ranking of the job is made from its examples. All unmarked members test
        then. The first half still serves as the ranking side of the controls.
    `sides`: an array that takes the side of each member; by default a new one.
    """
    rows = cluster.rows
    if sides is None:
        sides = np.empty(len(rows), np.int8)
    groups = None if rule in ("half", "none") else FieldGroups(table, rule, rows)
    marked = _marked(table, rows, made_on, groups)
    in_sample = rule == "none" and not brought
    if len(rows) > MOST_PERMUTED:
        hashed = HashedOrder(streams.generator("split", cluster.name))
        order: HashedOrder | SeededOrder = hashed
        _set_hashed_sides(sides, hashed, rows, groups, marked)
    else:
        order = _set_permuted_sides(sides, lambda: streams.generator("split", cluster.name), groups, marked)
    unmarked = None if marked is None else ~marked
    may_test = unmarked if in_sample or brought else sides.view(bool)
    if isinstance(order, SeededOrder):
        tested = _first(order, limit, may_test)
    else:
        tested = order.first(rows, min(limit, len(rows)), may_test)
    return _halves(sides, tested, marked, in_sample=in_sample, brought=brought)


def _halves(sides: np.ndarray, tested: np.ndarray, marked: np.ndarray | None, *, in_sample: bool, brought: bool) -> Halves:
    count = 0 if marked is None else int(marked.sum())
    ranked_on = len(sides) if in_sample else count if brought else len(sides) - int(np.count_nonzero(sides))
    return Halves(sides, tested, ranked_on, in_sample, count == len(sides))


def _set_permuted_sides(
    sides: np.ndarray, generator: Callable[[], np.random.Generator], groups: FieldGroups | None, marked: np.ndarray | None
) -> SeededOrder:
    """Set the side of each member; return the seeded order. `generator`: a new one at each call."""
    ranks = None if groups is None else groups.in_order(generator(), marked)
    order = SeededOrder(generator(), len(sides))
    if ranks is not None:
        for block in blocks(len(sides)):
            sides[order[block]] = ~ranks(block)
        return order
    missing = (len(sides) + 1) // 2
    sides[:] = 1
    if marked is not None:
        sides[marked] = 0
        missing -= int(marked.sum())
    for block in blocks(len(sides)):
        members = order[block]
        free = members if marked is None else members[~marked[members]]
        ranking = free[: max(missing, 0)]
        sides[ranking] = 0
        missing -= len(ranking)
    return order


def _first(order: SeededOrder, count: int, may_test: np.ndarray | None) -> np.ndarray:
    """The first members in the order that may test. `count`: their number, at most."""
    first = np.zeros(0, dtype=np.int64)
    for block in blocks(len(order)):
        members = order[block]
        first = np.concatenate([first, members if may_test is None else members[may_test[members]]])[:count]
        if len(first) == count:
            break
    # A copy, because a view would keep the whole block.
    return first.copy()


def _set_hashed_sides(
    sides: np.ndarray, hashed: HashedOrder, rows: Rows, groups: FieldGroups | None, marked: np.ndarray | None
) -> None:
    """Set the side of each member."""
    if groups is not None:
        groups.set_hashed_sides(sides, hashed, marked)
        return
    count = 0 if marked is None else int(marked.sum())
    share = max(0.0, ((len(rows) + 1) // 2 - count) / max(len(rows) - count, 1))
    for block in blocks(len(rows)):
        sides[block] = hashed.shares(rows[block]) >= share
    if marked is not None:
        sides[marked] = 0


def _marked(table: Table, rows: Rows, made_on: Sequence[str], groups: FieldGroups | None) -> np.ndarray | None:
    """Which members made given scores; with groups, all members of their groups.

    None where no field marks rows.
    """
    if not made_on:
        return None
    marked = np.zeros(len(rows), dtype=bool)
    for field in made_on:
        for block in blocks(len(rows)):
            marked[block] |= table.read(field, rows[block]).astype(bool)
    if groups is not None:
        groups.complete(marked)
    return marked
