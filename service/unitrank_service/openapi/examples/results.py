"""Examples of a result, of a comparison, of a unit and of a plot."""

from typing import Any

from unitrank_service.openapi.examples.contents import DATA_DIGEST, DIGEST, ID

# Examples are JSON objects.
Json = dict[str, Any]

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
