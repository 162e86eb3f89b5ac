"""A result that several tests read. It is computed once, in this process."""

import numpy as np
import pytest
import torch
from torch import nn

import unitrank


@pytest.fixture(scope="session")
def result() -> unitrank.JobResult:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    x = np.random.default_rng(0).normal(size=(40, 16))
    return unitrank.rank(
        network, "2", x, np.arange(40) % 2, methods=["gradient", "conductance"], ablation={"random": 19}, keep_examples=1
    )
