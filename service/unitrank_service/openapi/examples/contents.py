"""Examples of a model and a dataset, and the identifiers that all examples share."""

from typing import Any

# Examples are JSON objects.
Json = dict[str, Any]

NOW = "2026-11-20T12:00:00Z"
DIGEST = "sha256:" + "5e" * 32
DATA_DIGEST = "sha256:" + "7c" * 32
ID = "01m7xn0z6h5nsh8tv2nxg0jnwy"

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
