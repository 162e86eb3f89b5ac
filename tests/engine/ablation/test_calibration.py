"""Noise gets the verdict "better than random" at most as often as the level promises.

`benchmarks/calibration.py` measures the same with more jobs.
"""

import pytest
from benchmarks.calibration import CASES, Case, rates

NOISE = [case for case in CASES if case.expected == "≤ 5 %"]
IN_SAMPLE = [case for case in CASES if case.split == "none"]
TRUE = [case for case in CASES if case.expected == "high" and case.split == "half"]


@pytest.mark.check
@pytest.mark.parametrize("case", NOISE, ids=lambda case: case.title)
def test_verdict_when_scores_are_noise_then_it_is_seldom_better(case: Case) -> None:
    shares = rates(case, seeds=30)

    assert (shares.verdicts, shares.jobs) == (300, 30)
    # Expected: 15 ± 3.8 of 300 rankings, and at most 1.5 ± 1.2 of 30 jobs.
    assert shares.better <= 0.08
    assert shares.overall_better <= 0.08


@pytest.mark.parametrize("case", IN_SAMPLE, ids=lambda case: case.title)
def test_verdict_when_noise_is_tested_in_sample_then_it_is_wrong(case: Case) -> None:
    assert rates(case, seeds=2).better > 0.9


@pytest.mark.parametrize("case", TRUE, ids=lambda case: case.title)
def test_verdict_when_scores_are_true_then_it_says_so(case: Case) -> None:
    assert rates(case, seeds=2).better > 0.9
