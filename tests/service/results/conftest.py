"""A job that has succeeded, with a result that the test wrote instead of a worker."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import Served, job, put_dataset, ready_model
from unitrank_schemas.results import FidelityResult, Result

SHAPE = [4, 2, 2]
IMPORTANCE = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
SPREAD = np.abs(IMPORTANCE)
SPREAD[0, :] = np.nan
ARRAYS = {"importance/gradient": IMPORTANCE, "spread/gradient": SPREAD, "rows/a": np.array([0, 1]), "rows/=b": np.array([2])}


def cluster(name: str) -> dict[str, Any]:
    return {"name": name, "examples": 2, "ranked_on": 1, "tested_on": 1, "accuracy": 1.0, "score": 2.0}


def summary(id: str) -> dict[str, Any]:
    top = [{"unit": 0, "index": [0, 0, 0], "importance": 1.0, "spread": None, "in_top": 0.5}] * 3
    return {
        "job": id,
        "model": {"name": "net", "digest": "sha256:1"},
        "dataset": {"name": "data", "digest": "sha256:2"},
        "layer": {"name": "conv1", "at": "output", "cut": True, "units": "neuron", "shape": SHAPE, "count": 16},
        "clusters": [cluster("a"), cluster("=b")],
        "rankings": [
            {"id": "gradient", "method": {"name": "gradient"}, "clusters": {"a": {"top": top}, "=b": {"top": top}}, "seconds": 0.1}
        ],
        "leaderboard": [{"ranking": "gradient", "verdict": "undecided", "better_than_random": 0, "of": 2}],
        "warnings": [
            {"code": "saturated", "detail": "…", "cluster": "a", "ranking": "gradient"},
            {"code": "in_sample", "detail": "…"},
        ],
        "cost": {"seconds": 1.0, "forward_rows": 1, "backward_rows": 1, "device": "cpu", "peak_bytes": 0},
        "provenance": {"seed": 0, "version": "0", "torch": "2", "options": {}},
    }


@pytest.fixture
def done(client: httpx.Client, served: Served) -> str:
    """The id of a job that has succeeded."""
    return succeeded(client, served)


def succeeded(client: httpx.Client, served: Served, **changes: Any) -> str:
    """Post a job with these changes of its request, and end it with a result; return its id."""
    ready_model(client, served)
    put_dataset(client)
    id: str = client.post("/v1/jobs", json=job(**changes)).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    manifest = served.backend.results.put(summary(id), ARRAYS)
    assert served.backend.jobs.finish(id, attempt, "succeeded", result=dict(manifest))
    return id


def with_fidelity(result: Result, fidelity: Any, *errors: float) -> Result:
    """The result with these options of `fidelity`. `errors`: one per ranking."""
    options = {"fidelity": fidelity}
    rankings = [
        each.model_copy(update={"fidelity": FidelityResult(mae=1.0, mae_of_zero=error, bias=0.0)})
        for each, error in zip(result.rankings, errors, strict=True)
    ]
    return result.model_copy(update={"rankings": rankings, "provenance": result.provenance.model_copy(update={"options": options})})
