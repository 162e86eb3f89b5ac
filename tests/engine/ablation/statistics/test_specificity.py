"""Specificity equals closed forms of nets with blocks, and brute force over permutations."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from unitrank_engine.ablation.statistics.specificity import ClusterCross, overall_p_value, specificity
from unitrank_schemas.results import Specificity

LEVEL = 0.95


def judge(clusters: list[ClusterCross], seed: int = 0) -> Specificity:
    result = specificity(clusters, LEVEL, np.random.default_rng(seed))
    assert result is not None
    return result


def linear_clusters(weights: np.ndarray, orders: np.ndarray, counts: list[int], examples: int = 5) -> list[ClusterCross]:
    """Clusters of a linear net, where cluster c has F = Σ weights[c] · h, and random positive h.

    `orders`: each cluster's units, the first ones first.
    """
    rng = np.random.default_rng(7)
    clusters = []
    for index, of_cluster in enumerate(weights):
        h = rng.uniform(0.5, 1.5, (examples, weights.shape[1]))
        contributions = h * of_cluster
        drops = [np.mean([contributions[:, order[:count]].sum(1) for count in counts], axis=0) for order in orders]
        totals = contributions.sum(1)
        clusters.append(ClusterCross(str(index), float(totals.mean()), totals, np.stack(drops)))
    return clusters


def blocks(clusters: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights in which each cluster reads a block of its own, and orders with that block first."""
    weights = np.kron(np.eye(clusters), np.ones(size))
    return weights, np.argsort(-weights, axis=1, kind="stable")


@pytest.mark.parametrize("clusters", [2, 4, 9])
def test_specificity_when_every_cluster_has_a_block_of_its_own_then_areas_are_1_and_0(clusters: int) -> None:
    # Each count is the block's size, so that an order replaces its own block and no other.
    weights, orders = blocks(clusters, size=3)
    if clusters > 2:
        orders[:, 3:] = orders[:, :2:-1]

    result = judge(linear_clusters(weights, orders, counts=[3]))

    assert np.array(result.matrix, float) == pytest.approx(np.eye(clusters), abs=1e-12)
    assert list(result.selectivity.values()) == pytest.approx([1.0] * clusters, abs=1e-12)
    assert list(result.selectivity_low.values()) == pytest.approx([1.0] * clusters, abs=1e-12)
    assert list(result.selectivity_high.values()) == pytest.approx([1.0] * clusters, abs=1e-12)


def test_specificity_when_all_clusters_have_one_order_then_selectivity_is_exactly_0() -> None:
    weights = np.random.default_rng(2).uniform(0.1, 1.0, (7, 12))
    orders = np.tile(np.random.default_rng(3).permutation(12), (7, 1))

    result = judge(linear_clusters(weights, orders, counts=[1, 3, 6]))

    assert set(result.selectivity.values()) == {0.0}
    assert set(result.selectivity_low.values()) == set(result.selectivity_high.values()) == {0.0}
    assert result.overall_p_value == 1.0


def random_clusters(count: int, seed: int = 5, examples: int = 6) -> list[ClusterCross]:
    rng = np.random.default_rng(seed)
    clusters = []
    for index in range(count):
        totals = rng.uniform(2.0, 4.0, examples)
        clusters.append(ClusterCross(f"c{index}", float(totals.mean()), totals, rng.normal(1.0, 0.5, (count, examples))))
    return clusters


def test_specificity_when_computed_number_by_number_then_all_values_agree() -> None:
    clusters = random_clusters(5)

    result = judge(clusters)

    for own, cluster in enumerate(clusters):
        assert cluster.total is not None
        areas = [float(np.mean(drops)) / cluster.total for drops in cluster.by_order]
        others = [area for index, area in enumerate(areas) if index != own]
        lead = [
            (drops[own] - np.mean([value for index, value in enumerate(drops) if index != own])) / cluster.total
            for drops in cluster.by_order.T
        ]
        residuals = [d - np.mean(lead) * t / cluster.total for d, t in zip(lead, cluster.all_replaced, strict=True)]
        half_width = stats.t.ppf(0.975, len(lead) - 1) * np.std(residuals, ddof=1) / len(lead) ** 0.5
        selectivity = result.selectivity[cluster.name]
        assert [row[own] for row in result.matrix] == pytest.approx(areas, rel=1e-12)
        assert selectivity == pytest.approx(areas[own] - float(np.mean(others)), rel=1e-9)
        assert result.selectivity_low[cluster.name] == pytest.approx(selectivity - half_width, rel=1e-9)
        assert result.selectivity_high[cluster.name] == pytest.approx(selectivity + half_width, rel=1e-9)


@pytest.mark.parametrize("clusters", [4, 5, 6])
def test_overall_p_value_when_clusters_are_few_then_it_counts_all_permutations(clusters: int) -> None:
    areas = np.random.default_rng(clusters).normal(size=(clusters, clusters))
    columns = [(column - column.mean()) / column.std() for column in areas.T]
    trace = sum(columns[index][index] for index in range(clusters))
    traces = [sum(columns[column][row] for column, row in enumerate(rows)) for rows in permutations(range(clusters))]

    expected = np.mean([each >= trace - 1e-9 for each in traces])
    assert overall_p_value(areas, np.random.default_rng(0)) == pytest.approx(expected, rel=1e-12)


def test_overall_p_value_when_clusters_are_many_then_draws_come_close_to_all_permutations() -> None:
    # Own orders that are a little better. All 40 320 permutations are counted here.
    areas = np.random.default_rng(11).normal(size=(8, 8)) + 0.5 * np.eye(8)
    standardised = (areas - areas.mean(0)) / areas.std(0)
    rows = np.array(list(permutations(range(8))))
    exact = float((standardised[rows, np.arange(8)].sum(1) >= np.trace(standardised) - 1e-9).mean())

    drawn = overall_p_value(areas, np.random.default_rng(1))

    assert drawn == overall_p_value(areas, np.random.default_rng(1))
    # Three standard errors of 9 999 draws.
    assert drawn == pytest.approx(exact, abs=3 * (exact * (1 - exact) / 9_999) ** 0.5)


@pytest.mark.parametrize(("clusters", "is_null"), [(2, True), (3, True), (4, False), (8, False)])
def test_overall_p_value_when_there_are_fewer_than_4_clusters_then_it_is_null(clusters: int, is_null: bool) -> None:
    assert (overall_p_value(np.eye(clusters), np.random.default_rng(0)) is None) == is_null


def test_overall_p_value_when_a_column_is_flat_then_it_counts_nothing() -> None:
    areas = np.eye(4) + 1e-3
    areas[:, 0] = 0.1 + np.array([0.0, 1e-17, 0.0, -1e-17])

    # The three other own orders are best: only the identity has that trace.
    assert overall_p_value(areas, np.random.default_rng(0)) == 1 / 24


@pytest.mark.parametrize("clusters", [19, 20])
def test_p_value_when_there_are_20_clusters_then_it_is_the_share_of_orders_that_do_as_well(clusters: int) -> None:
    crossed = random_clusters(clusters, examples=2)

    result = judge(crossed)

    areas = np.array(result.matrix, float)
    expected = [sum(areas[row, own] >= areas[own, own] for row in range(clusters)) / clusters for own in range(clusters)]
    assert list(result.p_value.values()) == (expected if clusters == 20 else [None] * 19)


def test_specificity_when_a_cluster_has_no_area_then_it_leaves_as_row_and_column() -> None:
    clusters = random_clusters(4)
    without = [ClusterCross(c.name, c.total if c.name != "c1" else None, c.all_replaced, c.by_order) for c in clusters]
    others = [ClusterCross(c.name, c.total, c.all_replaced, c.by_order[[0, 2, 3]]) for c in clusters if c.name != "c1"]

    result, smaller = judge(without), judge(others)

    assert result.matrix[1] == [None] * 4
    assert [row[1] for row in result.matrix] == [None] * 4
    assert [[row[i] for i in (0, 2, 3)] for row in (result.matrix[j] for j in (0, 2, 3))] == smaller.matrix
    assert result.model_dump(exclude={"matrix"}) == smaller.model_dump(exclude={"matrix"})
    assert result.overall_p_value is None


def test_specificity_when_no_other_cluster_has_an_area_then_there_is_no_selectivity() -> None:
    one, other = random_clusters(2)

    result = judge([one, ClusterCross("empty", None, np.zeros(0), np.zeros((2, 0)))])
    assert (result.selectivity, result.matrix[1]) == ({}, [None, None])
    assert result.matrix[0][0] is not None
    nothing = judge([ClusterCross(each.name, None, each.all_replaced, each.by_order) for each in (one, other)])
    assert nothing.matrix == [[None, None], [None, None]]


def test_specificity_when_a_cluster_has_one_test_example_then_it_has_no_interval() -> None:
    clusters = random_clusters(3, examples=1)

    result = judge(clusters)

    assert set(result.selectivity) == {"c0", "c1", "c2"}
    assert result.selectivity_low == result.selectivity_high == {}


def test_specificity_when_there_is_one_cluster_then_it_is_null() -> None:
    assert specificity(random_clusters(1), LEVEL, np.random.default_rng(0)) is None
