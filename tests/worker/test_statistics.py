"""Importance, spread and cancellation, worked out by hand and against the whole table of scores."""

import numpy as np
import pytest
import torch

from worker.statistics import Moments, Sums


def moments(scores: list[list[float]] | np.ndarray, *, batch: int = 100) -> Moments:
    """Of these rows of scores, added in batches."""
    rows = torch.as_tensor(np.asarray(scores))
    sums = Sums(1, rows.shape[1], torch.device("cpu"))
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        sums.add(torch.zeros(len(part), dtype=torch.long), part)
    return sums.of(0)


TABLE = [[3.0, -1.0, 0.0, 2.0], [-3.0, -1.0, 0.0, 4.0], [6.0, -1.0, 0.0, 0.0]]


def test_importance_when_scores_have_signs_then_each_statistic_is_its_own() -> None:
    found = moments(TABLE)

    assert found.importance("mean").tolist() == [2.0, -1.0, 0.0, 2.0]
    assert found.importance("mean_abs").tolist() == [4.0, 1.0, 0.0, 2.0]
    # (9 + 9 + 36) / 3 and (4 + 16) / 3
    assert found.importance("rms").tolist() == pytest.approx([18**0.5, 1.0, 0.0, (20 / 3) ** 0.5])


def test_spread_when_scores_vary_then_it_is_the_deviation_of_what_the_statistic_averages() -> None:
    found = moments(TABLE)

    # 3 −3 6: deviations 1 −5 4, 42 / 2; of 3 3 6: −1 −1 2, 6 / 2
    assert found.spread("mean").tolist() == pytest.approx([21**0.5, 0.0, 0.0, 2.0])
    assert found.spread("mean_abs").tolist() == pytest.approx([3**0.5, 0.0, 0.0, 2.0])
    # squares 9 9 36: −9 −9 18, 486 / 2; and 4 16 0: (8/3)² + (28/3)² + (20/3)² = 416/3, half of it
    assert found.spread("rms").tolist() == pytest.approx(
        [243**0.5 / (2 * 18**0.5), 0.0, 0.0, (208 / 3) ** 0.5 / (2 * (20 / 3) ** 0.5)]
    )


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_spread_when_scores_are_many_then_numpy_agrees(batch: int) -> None:
    scores = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32) + 3
    found, s = moments(scores, batch=batch), scores.astype(np.float64)
    rms = np.sqrt((s**2).mean(0))

    np.testing.assert_allclose(found.spread("mean"), s.std(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found.spread("mean_abs"), np.abs(s).std(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found.spread("rms"), (s**2).std(0, ddof=1) / (2 * rms), rtol=1e-12)


def test_spread_when_all_scores_are_the_same_then_it_is_zero() -> None:
    same = np.full((1000, 3), np.float32(0.1)) * np.array([1, -7, 1e4], dtype=np.float32)

    for statistic in ("mean", "mean_abs", "rms"):
        assert moments(same, batch=37).spread(statistic).tolist() == [0.0, 0.0, 0.0]


def test_spread_when_there_is_one_example_then_it_is_not_known() -> None:
    assert np.isnan(moments(TABLE[:1]).spread("mean")).all()
    assert np.isnan(moments(TABLE[:1]).spread("rms")).all()


def test_cancellation_when_signs_differ_then_it_is_the_share_that_is_lost() -> None:
    # Σ|mean| = 2 + 1 + 0 + 2, Σ mean|·| = 4 + 1 + 0 + 2
    assert moments(TABLE).cancellation() == pytest.approx(1 - 5 / 7)
    assert moments([[1.0, -2.0], [-1.0, 2.0]]).cancellation() == 1.0
    assert moments(np.random.default_rng(0).random((9, 50))).cancellation() == 0.0


def test_cancellation_when_nothing_can_cancel_then_it_is_null() -> None:
    assert moments(TABLE[:1]).cancellation() is None
    assert moments([[0.0, 0.0], [0.0, 0.0]]).cancellation() is None


def test_noise_when_means_are_at_its_bound_then_it_is_seen_and_just_above_it_is_not() -> None:
    # eight scores of size 1 and the sum k: |mean| = k/8, rms = 1, the bound is 1.5 · √(2/(8π)) = 0.4231
    four = moments([[1.0]] * 5 + [[-1.0]] * 3)
    six = moments([[1.0]] * 6 + [[-1.0]] * 2)

    assert 2 / 8 <= 1.5 * (2 / (8 * np.pi)) ** 0.5 < 4 / 8
    assert four.looks_like_noise()
    assert not six.looks_like_noise()


def test_noise_when_scores_are_noise_then_it_is_seen_and_with_a_signal_it_is_not() -> None:
    noise = np.random.default_rng(0).standard_normal((60, 200))

    assert moments(noise).looks_like_noise()
    assert not moments(noise + 0.3).looks_like_noise()


def test_sums_when_examples_are_in_two_halves_then_together_they_are_the_whole() -> None:
    scores = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    sums = Sums(4, 4, torch.device("cpu"))
    sums.add(torch.arange(20) % 2 + 2, scores)
    whole = moments(scores.numpy())

    assert (sums.of(2).m, sums.of(3).m, sums.of(2, 3).m, sums.of(0, 1).m) == (10, 10, 20, 0)
    np.testing.assert_allclose(sums.of(2, 3).importance("rms"), whole.importance("rms"), rtol=1e-12)
    np.testing.assert_allclose(sums.of(3).importance("mean"), scores[1::2].double().mean(0), rtol=1e-12)
