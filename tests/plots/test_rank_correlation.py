"""The rank correlation, compared with that of scipy."""

import numpy as np
import pytest

from unitrank_plots.rank_correlation import spearman, spearman_matrix


def test_spearman_when_values_tie_then_agrees_with_scipy() -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    for _ in range(20):
        first, second = random.integers(5, size=(2, 30))
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert spearman(np.ones(3), np.arange(3)) is None


def test_spearman_matrix_when_values_tie_then_has_the_correlation_of_every_two_rankings() -> None:
    rankings = np.random.default_rng(0).integers(0, 9, (3, 40))

    matrix = spearman_matrix(list(rankings))

    for row, column in [(0, 1), (0, 2), (1, 2)]:
        assert matrix[row, column] == pytest.approx(spearman(rankings[row], rankings[column]))


def test_spearman_matrix_when_a_ranking_is_constant_then_its_row_is_nan() -> None:
    matrix = spearman_matrix([np.ones(5), np.arange(5)])

    assert np.isnan(matrix[0]).all()
