"""Targets with the same path share the steps of their sums."""

from itertools import pairwise

import torch
from torch import Tensor

from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.path.sums import SharedSteps, change_of_h


def test_steps_when_targets_share_h_then_each_interval_is_computed_once() -> None:
    values, computed = [torch.rand(3, 2) for _ in range(4)], []

    def step(left: Point, right: Point, out: Tensor) -> Tensor | float:
        computed.append((left, right))
        return change_of_h(left, right, out)

    steps = SharedSteps(step)

    for left, right in pairwise(values):
        for slope in (1.0, 2.0):
            start, end = (Point(0.0, h, torch.full_like(h, slope)) for h in (left, right))
            change = steps.of(start, end)
            assert isinstance(change, Tensor)
            assert torch.equal(change, right - left)

    assert len(computed) == 3
