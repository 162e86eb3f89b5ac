"""The halves of clusters: the members that rank, and the members that test."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from unitrank_engine.job.clusters import hashed_order
from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.holdout import Halves, halve
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_tables import Table, open_table

PATIENTS = np.array([7, 3, 3, 9, 7, 7, 1, 3, 9, 1, 1, 5])
MADE = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], dtype=bool)
OTHER = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], dtype=bool)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    marks = {"made": MADE, "other": OTHER, "most": np.arange(12) < 7, "all": np.ones(12, dtype=bool)}
    np.savez(tmp_path / "data.npz", x=np.zeros((12, 1)), patient=PATIENTS, site=np.array(["north"] * 12), **marks)
    with open_table(tmp_path / "data.npz") as opened:
        yield opened


def halves(table: Table, rule: str, rows: list[int] | range = range(12), *, limit: int = 200, seed: int = 0) -> Halves:
    return halve(ClusterRows("a", np.array(list(rows))), rule, limit, table, RandomStreams.of(seed, "work"))


@pytest.mark.parametrize(("n", "ranking"), [(1, 1), (2, 1), (3, 2), (7, 4), (12, 6)])
def test_half_when_a_cluster_is_cut_then_the_larger_half_ranks_and_the_smaller_half_tests(
    n: int, ranking: int, table: Table
) -> None:
    division = halves(table, "half", range(n))

    assert division.ranked_on == ranking == (division.sides == 0).sum()
    assert sorted(division.tested.tolist()) == np.flatnonzero(division.sides == 1).tolist()
    assert not division.in_sample


def test_half_when_drawn_then_the_seed_decides_it(table: Table) -> None:
    assert halves(table, "half").sides.tolist() == halves(table, "half").sides.tolist()
    drawn = {tuple(halves(table, "half", seed=seed).sides) for seed in range(20)}
    often = np.mean([halves(table, "half", seed=seed).sides for seed in range(300)], axis=0)

    assert len(drawn) > 15
    # Each member tests in 150 ± 8.7 of 300 draws.
    assert np.abs(often - 0.5).max() < 0.12


def test_half_when_clusters_have_other_names_then_they_are_cut_otherwise(table: Table) -> None:
    rows, streams = np.arange(12), RandomStreams.of(0, "work")
    first, second = (halve(ClusterRows(name, rows), "half", 200, table, streams).sides for name in ("a", "b"))

    assert first.tolist() != second.tolist()


def test_none_when_requested_then_all_members_rank_and_all_test(table: Table) -> None:
    division = halves(table, "none")

    assert division.in_sample
    assert division.ranked_on == 12
    assert sorted(division.tested.tolist()) == list(range(12))
    # The halves exist all the same, to measure the stability.
    assert np.bincount(division.sides).tolist() == [6, 6]


@pytest.mark.parametrize("seed", range(8))
def test_field_when_values_are_equal_then_they_stay_on_one_side(seed: int, table: Table) -> None:
    rows = [0, 1, 2, 3, 4, 6, 7, 9, 11]
    division = halves(table, "patient", rows, seed=seed)
    values = PATIENTS[rows]

    assert not set(values[division.sides == 0]) & set(values[division.sides == 1])
    assert division.ranked_on >= 5
    # Whole groups are taken in seeded order, and no group more than needed.
    assert division.ranked_on < 5 + 3
    assert sorted(division.tested.tolist()) == np.flatnonzero(division.sides == 1).tolist()


def test_field_when_there_is_one_group_only_then_nothing_is_tested(table: Table) -> None:
    division = halves(table, "site")

    assert division.ranked_on == 12
    assert len(division.tested) == 0


def test_limit_when_it_is_small_then_the_first_in_seeded_order_are_tested(table: Table) -> None:
    whole = halves(table, "half")

    assert halves(table, "half", limit=4).tested.tolist() == whole.tested[:4].tolist()
    assert halves(table, "half", limit=4).ranked_on == 6
    assert len(halves(table, "none", limit=4).tested) == 4


def marked_halves(table: Table, rule: str, *made_on: str, brought: bool = False, limit: int = 200) -> Halves:
    return halve(ClusterRows("a", np.arange(12)), rule, limit, table, RandomStreams.of(0, "work"), made_on=made_on, brought=brought)


def test_marked_rows_when_there_are_few_then_rank_and_the_first_half_is_filled_in_seeded_order(table: Table) -> None:
    division, free = marked_halves(table, "half", "made"), halves(table, "half")
    order = RandomStreams.of(0, "work").generator("split", "a").permutation(12)
    filled = [member for member in order.tolist() if not MADE[member]][:3]

    assert sorted(np.flatnonzero(division.sides == 0)) == sorted([*np.flatnonzero(MADE), *filled])
    assert sorted(division.tested.tolist()) == np.flatnonzero(division.sides == 1).tolist()
    assert division.ranked_on == free.ranked_on == 6


def test_marked_rows_when_several_fields_mark_more_than_half_then_all_of_them_rank(table: Table) -> None:
    division = marked_halves(table, "half", "most", "other")

    assert division.ranked_on == 9
    assert sorted(division.tested.tolist()) == [7, 8, 9]
    assert not division.all_marked


def test_marked_rows_when_a_field_splits_then_their_whole_groups_rank(table: Table) -> None:
    division = marked_halves(table, "patient", "other")
    ranking, tested = set(PATIENTS[division.sides == 0].tolist()), set(PATIENTS[division.sides == 1].tolist())

    assert {PATIENTS[10], PATIENTS[11]} <= ranking
    assert not ranking & tested
    assert 6 <= division.ranked_on < 6 + 3


def test_marked_rows_when_no_ranking_is_made_from_the_job_then_all_other_rows_test(table: Table) -> None:
    order = [member for member in RandomStreams.of(0, "work").generator("split", "a").permutation(12).tolist() if not MADE[member]]

    for rule in ("half", "none"):
        division = marked_halves(table, rule, "made", brought=True)
        assert division.tested.tolist() == order
        assert division.ranked_on == 3
        assert not division.in_sample
    assert marked_halves(table, "half", "made", brought=True, limit=4).tested.tolist() == order[:4]
    by_patient = marked_halves(table, "patient", "made", brought=True)
    assert set(PATIENTS[by_patient.tested]) == set(PATIENTS.tolist()) - {3, 7}


def test_marked_rows_when_the_rule_is_none_then_do_not_test(table: Table) -> None:
    division = marked_halves(table, "none", "made")

    assert sorted(division.tested.tolist()) == np.flatnonzero(~MADE).tolist()
    assert division.in_sample
    assert division.ranked_on == 12
    assert marked_halves(table, "none", "all").all_marked


def test_tested_members_hold_no_larger_array(table: Table) -> None:
    tested = halves(table, "half", limit=2).tested

    assert tested.base is None
    assert tested.nbytes == 2 * 8


def plain_field_sides(values: np.ndarray, marked: np.ndarray, order: np.ndarray) -> list[int]:
    """Whole groups rank, marked ones first, in the order of their first members."""
    marked = np.isin(values, values[marked])
    ranking: set[object] = set()
    reached = 0
    for member in [*order[marked[order]], *order[~marked[order]]]:
        if reached >= max((len(values) + 1) // 2, marked.sum()):
            break
        if values[member] not in ranking:
            ranking.add(values[member])
            reached += (values == values[member]).sum()
    return [int(value not in ranking) for value in values]


@pytest.mark.parametrize("made_on", [(), ("made",), ("most",)])
@pytest.mark.parametrize("rule", ["patient", "name", "own", "score"])
def test_field_when_there_are_many_members_then_halves_are_those_of_a_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, made_on: tuple[str, ...]
) -> None:
    monkeypatch.setattr(hashed_order, "BLOCK", 64)
    random, count = np.random.default_rng(5), 500
    fields = {
        "patient": random.integers(0, 300, count),
        "name": np.array(["a", "b", "a longer name", "c"])[random.integers(0, 4, count)],
        "own": np.arange(count, dtype=np.uint32)[::-1],
        "score": random.integers(-3, 3, count) / 2,
        "made": random.random(count) < 0.05,
        "most": random.random(count) < 0.9,
    }
    np.savez(tmp_path / "many.npz", x=np.zeros((count, 1)), **fields)
    rows, none = np.sort(random.permutation(count)[:450]), np.zeros(450, bool)
    marked = fields[made_on[0]][rows] if made_on else none
    order = RandomStreams.of(0, "work").generator("split", "a").permutation(450)
    with open_table(tmp_path / "many.npz") as table:
        division = halve(ClusterRows("a", rows), rule, 40, table, RandomStreams.of(0, "work"), made_on=made_on)

    assert division.sides.tolist() == plain_field_sides(fields[rule][rows], marked, order)
    assert division.tested.tolist() == [member for member in order if division.sides[member]][:40]
