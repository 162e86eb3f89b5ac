"""A job with two layers and the units of both together, whose result the test wrote."""

from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

from tests.service.conftest import Served, job, put_dataset, ready_model
from tests.service.results.conftest import cluster

COUNTS = {"conv1": 16, "fc": 3, "joint": 19}
SHAPES = {"conv1": [4, 2, 2], "fc": [3], "joint": [19]}
PARTS = [{"layer": "conv1", "first": 0, "shape": [4, 2, 2]}, {"layer": "fc", "first": 16, "shape": [3], "unit_word": "head"}]
METHODS = {"conv1": ["gradient", "activation"], "fc": ["gradient", "activation"], "joint": ["gradient"]}
CLUSTERS = ["a", "=b"]
AREAS = {"conv1": {"gradient": 0.6, "activation": 0.2}, "fc": {"gradient": 0.9, "activation": 0.4}, "joint": {"gradient": 0.8}}
VERDICTS = {0.6: "better_than_random", 0.9: "better_than_random", 0.8: "better_than_random", 0.2: "undecided", 0.4: "undecided"}
_IMPORTANCE = np.random.default_rng(0).normal(size=(2, 19)).astype(np.float32)
_OF = {"conv1": _IMPORTANCE[:, :16], "fc": _IMPORTANCE[:, 16:], "joint": _IMPORTANCE}
SHARES = [0.0, 0.2, 0.5]


def importance(layer: str, method: str) -> np.ndarray[Any, Any]:
    return _OF[layer] * (1 if method == "gradient" else -1)


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of the result, as the engine names them."""
    full: dict[str, np.ndarray[Any, Any]] = {"rows/a": np.array([0, 1]), "rows/=b": np.array([2])}
    for layer, methods in METHODS.items():
        for method in methods:
            full[f"{layer}/importance/{method}"] = importance(layer, method)
            full[f"{layer}/spread/{method}"] = np.abs(importance(layer, method))
            curve = 1 - AREAS[layer][method] * np.array([[0.0, 0.5, 1.0]] * 2, np.float32)
            full[f"{layer}/ablation/{method}/most"] = curve.astype(np.float32)
        full[f"{layer}/ablation/random"] = np.ones((2, 9, 3), np.float32)
    return full


def robust(layer: str, method: str) -> bool | None:
    return layer != "conv1" if VERDICTS[AREAS[layer][method]] == "better_than_random" else None


def part(layer: str) -> dict[str, Any]:
    """The part of the summary about one layer."""
    leaders = [
        {
            "ranking": method,
            "verdict": VERDICTS[AREAS[layer][method]],
            "robust": robust(layer, method),
            "better_than_random": 2,
            "of": 2,
            "area": AREAS[layer][method],
            "mean_area": AREAS[layer][method],
        }
        for method in METHODS[layer]
    ]
    return {
        "layer": {
            "name": layer,
            "at": "output",
            "cut": True,
            "units": "neuron",
            "shape": SHAPES[layer],
            "count": COUNTS[layer],
            "parts": PARTS if layer == "joint" else None,
        },
        "rankings": [_ranking(layer, method) for method in METHODS[layer]],
        "leaderboard": leaders,
        "comparisons": [],
        "agreement": [],
        "given": [],
        "warnings": [{"code": "saturated", "detail": f"at {layer}", "cluster": "a", "ranking": "gradient"}],
    }


def _ranking(layer: str, method: str) -> dict[str, Any]:
    clusters = {name: _in_cluster(layer, method, row) for row, name in enumerate(CLUSTERS)}
    selectivity = {name: round(AREAS[layer][method] / (2 + row), 3) for row, name in enumerate(CLUSTERS)}
    return {
        "id": method,
        "method": {"name": method},
        "clusters": clusters,
        "overall": {
            "p_value": 0.01,
            "p_worse": 1.0,
            "verdict": VERDICTS[AREAS[layer][method]],
            "area": AREAS[layer][method],
            "robust": robust(layer, method),
        },
        "specificity": {
            "matrix": [[1.0, 0.0], [0.0, 1.0]],
            "selectivity": selectivity,
            "p_value": dict.fromkeys(CLUSTERS, 0.01),
            "overall_p_value": 0.01,
        },
        "seconds": 0.1,
    }


def _in_cluster(layer: str, method: str, row: int) -> dict[str, Any]:
    values = importance(layer, method)[row]
    order = np.argsort(-values)[:2]
    top = [
        {
            "unit": int(unit),
            "index": [int(place) for place in np.unravel_index(unit, SHAPES[layer])],
            "importance": float(values[unit]),
            "spread": float(abs(values[unit])),
        }
        for unit in order
    ]
    most = {"area": AREAS[layer][method], "score": [0.5, 0.1]}
    random = {"score": {"mean": [1.0, 1.0], "low": [0.9, 0.9], "high": [1.1, 1.1]}}
    ablation = {
        "counts": [1, 2],
        "fractions": [0.2, 0.5],
        "random": random,
        "verdict": VERDICTS[AREAS[layer][method]],
        "p_value": 0.01,
        "most": most,
    }
    return {"top": top, "ablation": ablation | {"units_for_90": 1 + row + (layer != "fc")}}


def summary(id: str) -> dict[str, Any]:
    return {
        "job": id,
        "model": {"name": "net", "digest": "sha256:1"},
        "dataset": {"name": "data", "digest": "sha256:2"},
        "clusters": [cluster(name) for name in CLUSTERS],
        "layers": {layer: part(layer) for layer in ("conv1", "fc")},
        "joint": part("joint"),
        "warnings": [{"code": "in_sample", "detail": "…"}, {"code": "few_tests", "detail": "…", "cluster": "=b"}],
        "cost": {"seconds": 1.0, "forward_rows": 1, "backward_rows": 1, "device": "cpu", "peak_bytes": 0},
        "provenance": {"seed": 0, "version": "0", "torch": "2", "options": {}},
    }


def succeeded(
    client: httpx.Client, served: Served, layers: str | Sequence[str] = ("conv1", "fc"), *, ready: bool = True, **changes: Any
) -> str:
    """Post a job with these layers, and end it with the result above; return its id.

    `ready`: whether the model is ready before the job is sent.
    """
    put_dataset(client)
    if ready:
        ready_model(client, served)
    else:
        client.put("/v1/models/net", content=b"archive", headers={"Content-Type": "application/octet-stream"})
    layer = layers if isinstance(layers, str) else list(layers)
    answer = client.post("/v1/jobs", json=job(layer=layer, joint=True, methods=["gradient", "activation"], **changes))
    id: str = answer.json()["id"]
    if not ready:
        ready_model(client, served)
    attempt = served.backend.jobs.start(id, "cpu-0")
    location = served.backend.results.put(summary(id), arrays())
    assert served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(location)), answer.text
    return id
