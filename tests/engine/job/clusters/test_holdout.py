"""The halves of clusters: the members that rank, and the members that test."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.holdout import Halves, halve
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_tables import Table, open_table

PATIENTS = np.array([7, 3, 3, 9, 7, 7, 1, 3, 9, 1, 1, 5])


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    np.savez(tmp_path / "data.npz", x=np.zeros((12, 1)), patient=PATIENTS, site=np.array(["north"] * 12))
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
