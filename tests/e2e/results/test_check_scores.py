"""`check_scores` with the jobs of a service, by the client and by the command line."""

import asyncio
import json
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unitrank.cli.main import main
from unitrank.client.async_client import AsyncClient
from unitrank.client.sync import Client
from unitrank.errors import NotPossible
from unitrank.score_checks.score_check import ScoreCheck

pytestmark = pytest.mark.check
FAST = {"random": 19, "check_fill": None}


async def check_with_asyncio(url: str, scores: Tensor) -> ScoreCheck:
    async with AsyncClient(url) as client:
        return await client.check_scores("checked", "checked", "0", scores, ablation=FAST)


def test_check_scores_when_a_service_computes_then_names_the_bug(
    client: Client, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), torch.randn(40, 4)
    y = torch.arange(40) % 3
    h = network[0](x).detach().requires_grad_()
    network[2](network[1](h)).softmax(1)[torch.arange(40), y].sum().backward()
    assert h.grad is not None
    client.models.put("checked", network, x[:1], quiet=True)
    client.datasets.put("checked", x=x, y=y, quiet=True)
    np.savez(tmp_path / "scores.npz", scores=h.grad.mean(0).numpy())

    check = client.check_scores("checked", "checked", "0", h.grad.mean(0), ablation=FAST)
    again = asyncio.run(check_with_asyncio(url, h.grad.mean(0)))
    words = ["check-scores", str(tmp_path / "scores.npz"), "--model", "checked", "--data", "checked", "--layer", "0", "--json"]
    monkeypatch.setattr(sys, "argv", ["unitrank", *words, "--set", f"ablation={json.dumps(FAST)}", "--url", url])
    with pytest.raises(SystemExit):
        main()
    printed = json.loads(capsys.readouterr().out)
    jobs = httpx.get(f"{url}/v1/jobs?model=checked", timeout=90).json()["items"]

    assert (check.relation, check.method, check.target["score"]) == ("other_target", "gradient", "probability")
    assert again.as_json() == check.as_json()
    assert printed == check.as_json()
    assert all(job["request"]["metadata"]["name"].startswith("check-scores of layer ") for job in jobs)
    assert all(job["request"]["metadata"]["tags"] == ["check-scores"] for job in jobs)
    with pytest.raises(NotPossible, match="there are 5 scores, but the output of layer '0' has 6 neurons or 6 channels"):
        client.check_scores("checked", "checked", "0", h.grad.mean(0)[:5])
