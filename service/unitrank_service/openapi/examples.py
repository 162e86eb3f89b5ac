"""Examples of all bodies in the OpenAPI document, which belong to one job and its result."""

from typing import Any

from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import METHODS, card

# Examples are JSON objects.
Json = dict[str, Any]

NOW = "2026-11-20T12:00:00Z"
DIGEST = "sha256:" + "5e" * 32
DATA_DIGEST = "sha256:" + "7c" * 32
ID = "01m7xn0z6h5nsh8tv2nxg0jnwy"

JOB_REQUEST: Json = {
    "model": "mnist",
    "layer": "relu1",
    "dataset": "mnist-t10k",
    "methods": ["gradient", {"name": "gradient", "statistic": "mean_abs"}, {"name": "conductance", "steps": 20}],
}
# Two images of 28 by 28 pixels, each with one bright row.
INLINE_JOB_REQUEST: Json = {
    "model": "mnist",
    "layer": "relu1",
    "dataset": {"fields": {"x": [[[[int(row == bar)] * 28 for row in range(28)]] for bar in (9, 18)], "y": [0, 1]}},
    "methods": ["gradient_x_delta"],
    "ablation": {"random": 19},
}

MODEL: Json = {
    "name": "mnist",
    "digest": DIGEST,
    "bytes": 931451,
    "status": "ready",
    "created_at": NOW,
    "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 1, 28, 28]}],
    "outputs": [{"name": "output", "dtype": "float32", "shape": [None, 10]}],
    "parameters": 225034,
    "layers": [
        {
            "name": "relu1",
            "kind": "ReLU",
            "shape": [32, 13, 13],
            "units": 5408,
            "channels": 32,
            "channel_axis": 0,
            "cut": True,
            "input_shape": [32, 13, 13],
            "input_cut": True,
            "input_channel_axis": 0,
            "forward_cost": 0.2,
        }
    ],
    "flops": 2_300_000,
    "differentiable": True,
    "problem": None,
}
DATASET: Json = {
    "name": "mnist-t10k",
    "digest": DATA_DIGEST,
    "bytes": 1639218,
    "status": "ready",
    "created_at": NOW,
    "examples": 10000,
    "fields": {"x": {"dtype": "uint8", "shape": [None, 1, 28, 28]}, "y": {"dtype": "uint8", "shape": [None]}},
    "problem": None,
}
DATASET_ROW: Json = {
    "dataset": "flowers",
    "digest": DATA_DIGEST,
    "row": 3,
    "fields": {"x": [5.1, 3.5, 1.4, 0.2], "y": 0},
    "left_out": {},
    "image": None,
}
DATASET_STATISTICS: Json = {
    "dataset": "flowers",
    "digest": DATA_DIGEST,
    "examples": 4,
    "fields": {
        "y": {
            "rows": 4,
            "low": 0.0,
            "high": 1.0,
            "mean": 0.25,
            "not_finite": 0,
            "histogram": {"edges": [0.0, 0.5, 1.0], "counts": [3, 1]},
            "values": [{"value": 0, "rows": 3}, {"value": 1, "rows": 1}],
        }
    },
}
PLOT: Json = {
    "title": "Leaderboard of layer relu1",
    "panels": [
        {
            "kind": "bars",
            "x": {"label": "ranking"},
            "y": {"label": "area"},
            "labels": ["conductance", "gradient"],
            "values": [0.79, 0.64],
            "groups": ["better than random", "better than random"],
        }
    ],
}


def job() -> Json:
    """Return a running job."""
    path = f"/v1/jobs/{ID}"
    return {
        "id": ID,
        "status": "running",
        "attempt": 1,
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": None,
        "expires_at": None,
        "position": 0,
        "progress": {"done": 3200, "total": 40000, "unit": "examples", "stage": "attribution", "eta": 4.2},
        "request": _request(),
        "problem": None,
        "worker": "cpu-0",
        "summary": None,
        "submitted_by": "ci",
        "links": {"self": path, "result": f"{path}/result", "events": f"{path}/events", "report": f"{path}/report"},
    }


def delivery() -> Json:
    """Return a delivery that succeeded at the second attempt."""
    attempts = [
        {"at": NOW, "status": 503, "error": None, "seconds": 0.2},
        {"at": NOW, "status": 204, "error": None, "seconds": 0.1},
    ]
    return {
        "id": f"msg_{ID}",
        "url": "https://example.org/hook",
        "state": "delivered",
        "attempts": attempts,
        "next_at": None,
    }


STORE_WARNING: Json = {
    "code": "eviction",
    "detail": "the server deletes keys when its memory is full (maxmemory-policy allkeys-lru), and jobs are lost then; "
    "set maxmemory-policy noeviction",
}


def result() -> Json:
    """Return a short result with one ranking."""
    unit = {"unit": 1033, "index": [6, 1, 6], "importance": 41.7, "spread": 3.2}
    unit |= {"importance_low": 40.9, "importance_high": 42.5, "in_top": 0.99}
    cluster = {
        "top": [unit],
        "stable_top": [1033],
        "completeness": {"sum": 5709.8, "expected": 5711.0, "relative_gap": 0.0002},
        "cancellation": 0.12,
    }
    return {
        "job": ID,
        "model": {"name": "mnist", "digest": DIGEST},
        "dataset": {"name": "mnist-t10k", "digest": DATA_DIGEST},
        "layer": {
            "name": "relu1",
            "at": "output",
            "cut": True,
            "units": "neuron",
            "shape": [32, 13, 13],
            "count": 5408,
            "channel_axis": 0,
        },
        "clusters": [{"name": "all", "examples": 10000, "ranked_on": 5000, "tested_on": 200, "accuracy": 0.99, "score": 5711.2}],
        "rankings": [
            {
                "id": "conductance",
                "method": {"name": "conductance", "steps": 20, "statistic": "mean"},
                "clusters": {"all": cluster},
                "overall": {"p_value": 0.01, "p_worse": 1.0, "verdict": "better_than_random"},
                "seconds": 0.8,
            }
        ],
        "leaderboard": [{"ranking": "conductance", "verdict": "better_than_random", "better_than_random": 1, "of": 1}],
        "warnings": [],
        "cost": {"seconds": 3.1, "forward_rows": 210000, "backward_rows": 200000, "device": "cpu", "peak_bytes": 0, "reused": []},
        "provenance": {"seed": 0, "version": "0.2.0", "torch": "2.13.0", "options": {}},
    }


def layered_result() -> Json:
    """Return a short result with two layers."""
    whole = result()
    part = {name: whole.pop(name) for name in ("layer", "rankings", "leaderboard", "warnings")}
    second = part | {"layer": part["layer"] | {"name": "relu2", "shape": [64, 5, 5], "count": 1600}}
    return whole | {"layers": {"relu1": part, "relu2": second}, "joint": None, "warnings": []}


def comparison() -> Json:
    """Return the comparison of two jobs that differ in their data."""
    other = "01m7xn0z6h5nsh8tv2nxg0jnwz"
    summary = {"best": "conductance", "verdict": "better_than_random", "robust": True, "area": 0.79, "clusters": 10}
    jobs: list[Json] = [
        {
            "id": id,
            "name": name,
            "status": "succeeded",
            "model": {"name": "mnist", "digest": DIGEST},
            "dataset": {"name": "mnist-t10k", "digest": DATA_DIGEST},
            "layer": "relu1",
            "at": "output",
            "units": "neuron",
            "summary": summary,
            "leaderboard": [],
            "curve": {"ranking": "conductance", "shares": [0.0, 0.1, 0.5], "left": [1.0, 0.3, 0.12]},
        }
        for id, name in ((ID, "first try"), (other, None))
    ]
    pair = {"a": "conductance", "b": "conductance", "job_a": ID, "job_b": other}
    return {
        "jobs": jobs,
        "differences": [
            {"field": "methods", "values": [[{"name": "conductance", "steps": 20}], [{"name": "conductance", "steps": 50}]]}
        ],
        "agreement": [
            pair
            | {"spearman": 0.99, "pearson": 0.99, "cosine": 0.99, "scale": 1.0, "relative_difference": 0.01, "top_overlap": 19.0}
        ],
        "comparisons": [pair | {"difference": 0.01, "low": -0.01, "high": 0.03, "ahead": None}],
        "not_compared": [],
    }


def unit() -> Json:
    """Return one unit of the result."""
    examples = {"largest": [{"row": 7, "value": 3.1}], "smallest": [{"row": 4012, "value": -0.2}]}
    entry = {"importance": 41.7, "spread": 3.2, "rank": 1, "effect": None, "score": examples, "activation": examples}
    return {
        **{name: result()[name] for name in ("job", "dataset", "layer")},
        "unit": 1033,
        "index": [6, 1, 6],
        "name": "6,1,6",
        "rankings": [{"id": "conductance", "target_class": None, "clusters": {"all": entry}}],
        "missing": {"effect": "the job measured no effect of this unit alone; post it with `ablation.verify`"},
    }


def examples_by_schema() -> dict[str, Json]:
    """Return the name of each schema in the document → an example of it."""
    cards = {name: card(name).model_dump(mode="json") for name in METHODS}
    worker = {"name": "cpu-0", "device": "cpu", "queue": "unitrank-jobs", "memory": 812_000_000, "children": 2, "job": None}
    worker["models"] = ["mnist"]
    return {
        "Model": MODEL,
        "Dataset": DATASET,
        "DatasetRow": DATASET_ROW,
        "DatasetStatistics": DATASET_STATISTICS,
        "Job": job(),
        "JobChange": {"metadata": {"name": "relu1, all digits", "tags": ["paper"], "notes": None}},
        "DryRun": {"request": _request(), "estimate": {"passes": 1_240_000, "seconds": 18.5, "result_bytes": 161_520}},
        "Result": result(),
        "LayeredResult": layered_result(),
        "JobComparison": comparison(),
        "UnitResult": unit(),
        "ClassNames": {"classes": {"0": "cat", "3": "dog"}},
        "MethodCard": cards["conductance"],
        "Page_Model_": {"items": [MODEL], "next": None},
        "Page_Dataset_": {"items": [DATASET], "next": None},
        "Page_Job_": {"items": [job()], "next": ID},
        "Page_MethodCard_": {"items": list(cards.values()), "next": None},
        "Health": {"status": "ok"},
        "Readiness": {"status": "ok", "warnings": [STORE_WARNING]},
        "Workers": {"items": [worker], "next": None},
        "Version": {"version": "0.2.0", "api": "v1"},
        "Page_Delivery_": {"items": [delivery()], "next": None},
        "Location": {"uri": "s3://bucket/model.pt2"},
    }


def _request() -> Json:
    request: Json = JobRequest.model_validate(JOB_REQUEST).model_dump(mode="json")
    return request | {"inputs": {"x": "x"}, "labels": "y", "output": "output", "target": {"class": "label", "score": "logit"}}
