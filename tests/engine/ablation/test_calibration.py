"""Noise gets the verdict "better than random" at most as often as the level promises.

`python -m benchmarks.calibration` measures the same with more jobs and in more regimes.
"""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.calibration.jobs import job
from benchmarks.calibration.rates import Share, limit, outcomes, rates, significant
from benchmarks.calibration.regimes import NOISE, NOT_EXCHANGEABLE, POWER
from benchmarks.calibration.scores import independent

from unitrank_engine.ablation.statistics.family import over_clusters, place
from unitrank_engine.ablation.study import StudyOutcome

CHECKED = ("fitted", "rankings-5")


def _p_with_shared_orders(outcome: StudyOutcome) -> list[float]:
    """Return the overall p-values with shared random orders instead of relabelled controls."""
    curves = [np.concatenate([study.arrays["most"][:, None], outcome.random], 1) for study in outcome.rankings.values()]
    return [place(over_clusters((each[..., 0] - each[..., 1:].mean(-1)).T)).p_value for each in curves]


@pytest.mark.check
@pytest.mark.parametrize("name", CHECKED)
def test_verdict_when_scores_are_noise_then_it_is_seldom_better(name: str) -> None:
    better = rates(NOISE[name], 20)["better"]

    assert better.value <= limit(better.of)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOISE)
def test_verdict_when_scores_are_noise_in_any_regime_then_it_is_seldom_better(name: str) -> None:
    better = rates(NOISE[name], 100)["better"]

    assert better.value <= limit(better.of)


@pytest.mark.check
def test_two_classes_when_controls_are_relabelled_then_noise_is_seldom_better_and_else_often() -> None:
    studied = [outcome for _, outcome in outcomes(NOISE["two-classes"], 20)]
    relabelled = [study.overall.p_value for outcome in studied for study in outcome.rankings.values()]
    shared = [p for outcome in studied for p in _p_with_shared_orders(outcome)]

    assert Share.of_flags([significant(p) for p in relabelled]).value <= limit(len(relabelled))
    assert Share.of_flags([significant(p) for p in shared]).value > limit(len(shared))


@pytest.mark.check
def test_verdict_when_noise_is_tested_in_sample_then_it_is_wrong() -> None:
    assert rates(NOT_EXCHANGEABLE["in-sample"], 5)["better"].value == 1.0


@pytest.mark.check
def test_verdict_when_scores_are_true_then_it_says_so() -> None:
    assert rates(POWER["power-1.0-1"], 5)["better"].value == 1.0


@pytest.mark.check
def test_ranking_when_judged_alone_then_has_the_p_value_of_a_job_of_its_own() -> None:
    setup = NOISE["two-classes"].setup
    with job(setup, 0) as together:
        scores = independent(together, np.random.default_rng(0))
        p_values = {name: study.overall.p_value for name, study in together.study(scores).rankings.items()}
    with job(replace(setup, rankings=1), 0) as single:
        (name,) = setup.ids()[:1]
        overall = single.study({name: scores[name]}).rankings[name].overall

    assert overall.p_family == p_values[name]
