"""Scores that are too large for a request are compared as well."""

import pytest
import torch
from torch import nn

import unitrank


@pytest.mark.check
def test_check_when_the_scores_do_not_fit_into_a_request_then_they_are_a_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unitrank.client.given.MOST_IMPORTANCE_BYTES", 8)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    x, y = torch.randn(20, 4), torch.arange(20) % 2
    h = network[0](x).detach().requires_grad_()
    network[2](network[1](h))[range(20), y].sum().backward()
    assert h.grad is not None

    check = unitrank.check_scores(network, {"x": x, "y": y}, "0", h.grad.mean(0))

    assert (check.relation, check.method, check.is_correct) == ("equal", "gradient", True)
    assert check.result.rankings["scores"].method["scores"] is not None
