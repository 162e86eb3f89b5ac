"""Runs the examples in the client's docstrings that need a service."""

import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.support.documentation.docstrings import examples_of, run

pytestmark = pytest.mark.check


@pytest.mark.parametrize("documented", [unitrank.Client, unitrank.JobHandle, unitrank.AsyncClient, unitrank.AsyncJobHandle])
def test_example_when_it_is_run_against_a_service_then_it_prints_what_the_docstring_shows(documented: type, url: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")

    for test in examples_of(documented, {"url": url, "network": network, "x": x}):
        assert run(test) == ""
