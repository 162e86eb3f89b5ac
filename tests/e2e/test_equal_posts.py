"""Many clients post equal jobs at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from benchmarks.support.uploads import put_dataset, put_model
from torch import nn

CROWD = 200


@pytest.mark.timeout(180)
@pytest.mark.parametrize("headers", [{}, pytest.param({"Idempotency-Key": "crowd"}, marks=pytest.mark.check)])
def test_posts_when_two_hundred_are_equal_then_one_job_runs_once(
    http: httpx.Client, url: str, tmp_path: Path, headers: dict[str, str]
) -> None:
    torch.manual_seed(0)
    put_dataset(http, "crowd", tmp_path, x=np.ones((4, 4), dtype=np.float32))
    put_model(http, "crowd", nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), tmp_path)
    job = {"model": "crowd", "layer": "1", "dataset": "crowd", "methods": ["activation"], "ablation": None, "seed": len(headers)}
    before = len(http.get("/v1/jobs", params={"model": "crowd", "limit": 200}).json()["items"])

    with httpx.Client(base_url=url, timeout=90, limits=httpx.Limits(max_connections=CROWD)) as crowd:

        def post(_: int) -> str:
            answer = crowd.post("/v1/jobs", json=job, headers=headers)
            assert answer.status_code in (200, 202), answer.text
            return str(answer.json()["id"])

        with ThreadPoolExecutor(CROWD) as pool:
            ids = set(pool.map(post, range(CROWD)))
    assert len(ids) == 1

    ended = http.get(f"/v1/jobs/{ids.pop()}", params={"wait": 60}).json()
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)
    assert len(http.get("/v1/jobs", params={"model": "crowd", "limit": 200}).json()["items"]) == before + 1
