"""The test of a ranking's lead on other examples, against scipy and limit cases."""

import numpy as np
import pytest
from scipy import stats

from unitrank_engine.ablation.masks import tested as outcome
from unitrank_engine.ablation.statistics.judgement import Tested
from unitrank_engine.ablation.statistics.other_examples import p_other_examples

RNG = np.random.default_rng(3)
CONTROLS = RNG.normal(size=(30, 1))
"""The drops of 30 controls at the only count."""


def in_clusters(leads: list[np.ndarray], *, controls: np.ndarray = CONTROLS, ordered: bool = True) -> Tested:
    """A ranking in clusters whose test examples have these leads over the random orders."""
    return [_cluster(each, controls, ordered) for each in leads]


def _cluster(leads: np.ndarray, controls: np.ndarray, ordered: bool) -> tuple[outcome.TestedCluster, outcome.TestedRanking]:
    curves, none = outcome.Curves(-controls, None), outcome.Curves(np.zeros((0, 1)), None)
    shift = RNG.normal(size=len(leads))
    ranking = outcome.TestedRanking(
        orders={"most": none},
        others=none,
        relabelled=curves,
        keep=None,
        ordered=ordered,
        drops={"most": leads + shift},
        losses=None,
        newly_wrong=None,
        others_drops=np.zeros((0, len(leads))),
    )
    cluster = outcome.TestedCluster(
        measure="score",
        examples=len(leads),
        ends=outcome.Curves(np.array([[0.0, -1.0]]), None),
        magnitude=1.0,
        changes=np.ones(len(leads)),
        random=none,
        random_drops=shift,
        random_keep=None,
        activity=None,
        rankings={},
    )
    return cluster, ranking


def test_p_when_there_is_one_cluster_then_it_is_that_of_a_t_test() -> None:
    leads = RNG.normal(0.3, size=12)

    expected = stats.ttest_1samp(leads, 0.0, alternative="greater").pvalue
    assert p_other_examples(in_clusters([leads])) == pytest.approx(expected)


def test_p_when_there_are_clusters_then_each_has_equal_weight_and_its_own_variance() -> None:
    leads = [RNG.normal(0.3, 1.0, 12), RNG.normal(-0.1, 3.0, 30), RNG.normal(0.2, 0.1, 2)]

    mean = sum(each.mean() for each in leads)
    error = np.sqrt(sum(stats.sem(each) ** 2 for each in leads))
    expected = stats.t.sf(mean / error * 1.0, 11 + 29 + 1)
    assert p_other_examples(in_clusters(leads)) == pytest.approx(expected)


def test_p_when_all_examples_have_one_lead_then_it_is_0_or_1() -> None:
    # Without noise in the drops, their difference is exact.
    ahead, behind = in_clusters([np.zeros(5)]), in_clusters([np.zeros(5)])
    ahead[0][1].drops["most"][:] = ahead[0][0].random_drops[:] = 0.0
    ahead[0][1].drops["most"][:] = 0.5
    behind[0][1].drops["most"][:] = behind[0][0].random_drops[:] = 0.0

    assert (p_other_examples(ahead), p_other_examples(behind)) == (0.0, 1.0)


@pytest.mark.parametrize(
    "cluster",
    [
        in_clusters([np.array([1.0])]),
        in_clusters([np.array([1.0, 2.0])], ordered=False),
        in_clusters([np.array([1.0, 2.0])], controls=np.full((30, 1), 0.3)),
        [],
    ],
    ids=["one example", "equal scores", "equal controls", "no cluster"],
)
def test_p_when_nothing_can_be_tested_then_there_is_none(cluster: Tested) -> None:
    usable = RNG.normal(size=7)

    assert p_other_examples(cluster) is None
    assert p_other_examples([*cluster, *in_clusters([usable])]) == pytest.approx(p_other_examples(in_clusters([usable])))
