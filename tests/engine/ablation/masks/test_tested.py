"""The drops of a tested cluster."""

from itertools import permutations

import numpy as np

from unitrank_engine.ablation.masks import tested
from unitrank_engine.ablation.masks.tested import Curves


def cluster(right: list[list[int]], examples: int) -> tuple[tested.TestedCluster, Curves]:
    """A cluster with the measure `accuracy`, and curves of these numbers of right predictions."""
    curves = Curves(score=np.zeros((len(right), len(right[0]))), accuracy=np.array(right) / examples)
    ends = Curves(score=np.zeros((1, 2)), accuracy=np.array([[1.0, 0.0]]))
    accuracies = tested.TestedCluster(
        measure="accuracy",
        examples=examples,
        ends=ends,
        magnitude=1.0,
        changes=np.ones(examples),
        random=curves,
        random_drops=np.zeros(examples),
        random_keep=None,
        activity=None,
        rankings={},
    )
    return accuracies, curves


def test_drops_when_the_same_examples_become_wrong_at_other_counts_then_accuracies_tie_to_the_bit() -> None:
    # 1 + (1 − 0.05) + (1 − 0.1) rounds differently in another order.
    accuracies, curves = cluster([list(order) for order in permutations([0, 1, 2])], examples=20)

    assert accuracies.drops(curves).tolist() == [(20 + 19 + 18) / 3 / 20] * 6
