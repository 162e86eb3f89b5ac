"""Agreement of rankings, compared with scipy and with plain loops."""

from itertools import combinations
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.result.agreement import agreements
from unitrank_schemas import results as schema


def ranking(id: str, name: str = "gradient", target_class: int | None = None) -> schema.Ranking:
    return schema.Ranking(id=id, target_class=target_class, method={"name": name}, clusters={}, seconds=0.0)


def agreement(*importances: Any, rankings: list[schema.Ranking] | None = None) -> list[schema.Agreement]:
    """The agreement of rankings a, b, …; each has the importances of every cluster."""
    stacked = np.array(importances, float)
    entries = rankings or [ranking(chr(ord("a") + index)) for index in range(len(stacked))]
    return agreements(entries, stacked.shape[1], lambda cluster: stacked[:, cluster])


NOISE = np.random.default_rng(0).normal(size=(3, 4, 60))
NOISE[1] += NOISE[0]
NOISE[2] = np.round(NOISE[2])


def test_agreement_when_rankings_are_noise_then_equals_plain_loops() -> None:
    computed = {(pair.a, pair.b): pair for pair in agreement(*NOISE)}

    assert list(computed) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (first, a), (second, b) in combinations(zip("abc", NOISE, strict=True), 2):
        pair = computed[first, second]
        tops = [[set(np.argsort(-values, kind="stable")[:20].tolist()) for values in side] for side in (a, b)]
        scale = np.linalg.lstsq(b.reshape(-1, 1), a.ravel(), rcond=None)[0][0]
        assert pair.spearman == pytest.approx(np.mean([stats.spearmanr(*each).statistic for each in zip(a, b, strict=True)]))
        assert pair.pearson == pytest.approx(np.mean([stats.pearsonr(*each).statistic for each in zip(a, b, strict=True)]))
        cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
        assert pair.cosine == pytest.approx(np.mean(cosines))
        assert pair.top_overlap == pytest.approx(np.mean([len(x & y) for x, y in zip(*tops, strict=True)]))
        assert pair.scale == pytest.approx(scale)
        assert pair.relative_difference == pytest.approx(abs(a - scale * b).max() / abs(a).max())


def test_agreement_when_a_ranking_is_a_multiple_then_only_its_scale_differs() -> None:
    (pair,) = agreement(-3 * NOISE[0], NOISE[0])

    assert (pair.spearman, pair.pearson, pair.cosine) == pytest.approx((-1.0, -1.0, -1.0))
    assert pair.scale == pytest.approx(-3)
    assert pair.relative_difference == pytest.approx(0, abs=1e-12)


def test_agreement_when_a_cluster_is_constant_then_the_mean_is_over_the_others() -> None:
    (pair,) = agreement([[1, 2, 3], [5, 5, 5]], [[2, 4, 6], [1, 2, 3]])
    (constant,) = agreement([[2, 2, 2]], [[1, 2, 3]])

    assert (pair.spearman, pair.pearson, pair.cosine) == pytest.approx((1, 1, 1))
    assert (constant.spearman, constant.pearson, constant.cosine) == (None, None, None)
    assert constant.scale == pytest.approx(12 / 14)
    assert constant.top_overlap == 3


def test_agreement_when_a_ranking_is_zero_then_its_numbers_are_null() -> None:
    zero, other = np.zeros((1, 4)), np.arange(4.0)[None]
    (first,), (second,) = agreement(zero, other), agreement(other, zero)

    assert (first.scale, first.relative_difference) == (0.0, None)
    assert (second.scale, second.relative_difference) == (None, 1.0)


def test_agreement_when_units_tie_for_the_top_then_the_lower_numbers_are_in_it() -> None:
    flat, high_end = np.zeros((1, 30)), np.zeros((1, 30))
    high_end[0, 25:] = 1.0

    (pair,) = agreement(flat, high_end)

    assert pair.top_overlap == 15


def test_agreement_when_scores_are_given_then_they_are_a_and_classes_are_apart() -> None:
    entries = [ranking("x"), ranking("mine", "given"), ranking("y@1", target_class=1), ranking("z@1", target_class=1)]

    pairs = agreement(*np.ones((4, 1, 2)), rankings=entries)

    assert [(pair.a, pair.b) for pair in pairs] == [("mine", "x"), ("y@1", "z@1")]


def test_agreement_when_a_job_runs_then_equals_that_of_its_arrays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = program_of(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), torch.ones(2, 3))
    fields = {"x": np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32), "y": np.arange(12) % 2}

    summary, arrays = rank(
        program, fields=fields, folder=tmp_path, layer="1", methods=["gradient", "activation"],
        clusters={"by": "label"}, ablation=None, fidelity=None,
    )  # fmt: skip

    (pair,) = summary["agreement"]
    a, b = (arrays[f"importance/{pair[side]}"].astype(float) for side in "ab")
    assert pair["pearson"] == pytest.approx(np.mean([stats.pearsonr(*each).statistic for each in zip(a, b, strict=True)]), abs=1e-5)
    assert pair["scale"] == pytest.approx((a * b).sum() / (b * b).sum(), rel=1e-5)


def test_agreement_when_ten_rankings_have_5368_units_in_ten_clusters_then_takes_under_a_second() -> None:
    importances = np.random.default_rng(0).normal(size=(10, 10, 5368))
    began = process_time()

    pairs = agreement(*importances)

    assert len(pairs) == 45
    assert process_time() - began < 1.0
