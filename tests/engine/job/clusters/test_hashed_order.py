"""Halves of very large clusters come from a keyed hash of the row number."""

from pathlib import Path

import numpy as np
import pytest

from unitrank_engine.job.clusters import finders, hashed_order, holdout
from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.hashed_order import MOST_PERMUTED, HashedOrder, SeededOrder, nth
from unitrank_engine.job.clusters.holdout import Halves, halve
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_tables import open_table

ROWS = 20_000
MASK = 2**64 - 1


@pytest.fixture(autouse=True)
def few_rows_are_many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 000 rows are the limit in place of 10⁷, except in slow tests."""
    if "slow" not in request.keywords:
        for module in (holdout, finders):
            monkeypatch.setattr(module, "MOST_PERMUTED", 10_000)
        monkeypatch.setattr(hashed_order, "BLOCK", 777)


def fields(rows: int = ROWS) -> dict[str, np.ndarray]:
    """Groups of seven, of a name, of an age with −0 and 0, and of half of the rows."""
    is_made, ages = np.arange(rows) < rows // 5 + 2, np.random.default_rng(0).integers(-40, 40, rows) / 4
    ages[ages == 0] *= np.random.default_rng(1).choice([-1, 1], (ages == 0).sum())
    names = np.array(["a", "ab", "b", "ba", "a longer name", *map(str, range(95))])[np.arange(rows) * 7919 % 100]
    return {"patient": np.arange(rows) // 7, "made": is_made, "age": ages, "name": names, "two": np.arange(rows) % 2}


def halves(folder: Path, rule: str, *, seed: int = 0, limit: int = 300, rows: int = ROWS, made_on: tuple[str, ...] = ()) -> Halves:
    np.savez(folder / "data.npz", x=np.zeros((rows, 1), np.uint8), **fields(rows))
    with open_table(folder / "data.npz") as table:
        return halve(ClusterRows("a", np.arange(rows)), rule, limit, table, RandomStreams.of(seed, "work"), made_on=made_on)


def plain_hash(row: int, key: int) -> int:
    """splitmix64 with whole numbers of Python."""
    z = (row + key) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def test_hashes_equal_a_plain_implementation_and_are_distinct() -> None:
    order = HashedOrder(np.random.default_rng(0))
    rows = np.r_[np.arange(1000), 10**9 + np.arange(1000)]
    hashes = order.hashes(rows)

    assert hashes.tolist() == [plain_hash(row, int(order._key)) for row in rows.tolist()]
    assert len(set(hashes.tolist())) == len(rows)


def test_half_when_a_cluster_is_large_then_is_even_to_within_chance_and_depends_on_the_seed(tmp_path: Path) -> None:
    drawn = [halves(tmp_path, "half", seed=seed) for seed in (0, 0, 1)]
    agree = (drawn[0].sides == drawn[2].sides).mean()

    # 5 standard deviations of 20 000 fair coins.
    assert all(abs(each.ranked_on - ROWS / 2) < 354 for each in drawn)
    assert abs(agree - 0.5) < 0.018
    assert drawn[0].sides.tolist() == drawn[1].sides.tolist()
    assert drawn[0].sides.dtype == np.int8
    assert abs(np.corrcoef(drawn[0].sides[:-1], drawn[0].sides[1:])[0, 1]) < 0.036


def test_tested_when_a_cluster_is_large_then_are_distinct_members_of_their_half(tmp_path: Path) -> None:
    division = halves(tmp_path, "half")
    hashes = HashedOrder(RandomStreams.of(0, "work").generator("split", "a")).hashes(np.arange(ROWS))
    expected = sorted(np.flatnonzero(division.sides == 1).tolist(), key=lambda row: hashes[row])

    assert division.tested.tolist() == expected[:300]
    assert not division.in_sample
    in_sample = halves(tmp_path, "none")
    assert in_sample.in_sample
    assert (in_sample.ranked_on, len(set(in_sample.tested.tolist()))) == (ROWS, 300)


@pytest.mark.parametrize("rule", ["patient", "name", "age", "two"])
def test_groups_when_a_cluster_is_large_then_stay_in_one_half_and_half_of_the_members_rank(tmp_path: Path, rule: str) -> None:
    sides, values = halves(tmp_path, rule).sides, fields()[rule]
    _, first, groups = np.unique(values, return_index=True, return_inverse=True)

    assert sides.tolist() == sides[first][groups].tolist()
    # The largest group, and the groups that share the upper bits of a hash.
    assert ROWS / 2 <= (sides == 0).sum() <= ROWS / 2 + np.bincount(groups).max() + 100


def test_groups_when_members_are_marked_then_their_whole_groups_rank(tmp_path: Path) -> None:
    division, values = halves(tmp_path, "patient", made_on=("made",)), fields()["patient"]
    marked = np.isin(values, values[fields()["made"]])

    assert marked.sum() > fields()["made"].sum()
    assert (division.sides[marked] == 0).all()
    assert ROWS / 2 <= division.ranked_on < ROWS / 2 + 100
    assert not set(values[division.sides == 0]) & set(values[division.sides == 1])


@pytest.mark.parametrize("count", [1, 2, 500, 999, 1000])
def test_nth_is_that_of_the_sorted_hashes(count: int) -> None:
    random = np.random.default_rng(count)
    hashes = random.choice(random.integers(0, 2**64, 300, dtype=np.uint64), 1000)
    hashes[::3] &= np.uint64(2**50 - 1)

    assert nth(lambda: iter(np.split(hashes, [100, 350])), count) == np.sort(hashes)[count - 1]


@pytest.mark.parametrize("count", [1, 2, 256, 257, 2**16 + 1])
def test_seeded_order_is_that_of_the_generators_permutation(count: int) -> None:
    order, expected = SeededOrder(np.random.default_rng(count), count), np.random.default_rng(count).permutation(count)

    assert len(order) == count
    assert order[:].tolist() == expected.tolist()
    assert order[count // 3 : count // 2].tolist() == expected[count // 3 : count // 2].tolist()


def test_marked_members_when_a_cluster_is_large_then_never_test(tmp_path: Path) -> None:
    division = halves(tmp_path, "half", made_on=("made",))

    assert (division.sides[: ROWS // 5] == 0).all()
    assert (division.tested >= ROWS // 5).all()
    assert abs(division.ranked_on - ROWS / 2) < 354


def test_limit_when_a_cluster_is_large_then_takes_a_seeded_sample() -> None:
    rows = np.arange(5, ROWS)
    first, again, other = (finders._limited(rows, 500, RandomStreams.of(seed, "work"), "a") for seed in (0, 0, 1))

    assert first.tolist() == again.tolist() == sorted(set(first.tolist()))
    assert len(first) == 500
    assert set(first.tolist()) <= set(rows.tolist())
    assert len(set(first.tolist()) & set(other.tolist())) < 60


def test_cluster_when_not_above_the_limit_then_keeps_its_permutation(tmp_path: Path) -> None:
    division = halves(tmp_path, "half", rows=10_000)

    order = RandomStreams.of(0, "work").generator("split", "a").permutation(10_000)
    assert np.flatnonzero(division.sides == 0).tolist() == sorted(order[:5000].tolist())


@pytest.mark.slow
def test_half_when_a_cluster_has_more_than_ten_million_rows_then_is_even(tmp_path: Path) -> None:
    rows = MOST_PERMUTED + 1
    division = halves(tmp_path, "half", rows=rows)

    assert abs(division.ranked_on - rows / 2) < 5 * np.sqrt(rows) / 2
    assert division.sides.nbytes == rows
