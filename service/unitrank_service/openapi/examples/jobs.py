"""Examples of requests, of a job and of a delivery."""

from typing import Any

from unitrank_schemas.jobs import JobRequest
from unitrank_service.openapi.examples.contents import ID, NOW

# Examples are JSON objects.
Json = dict[str, Any]

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
        "request": complete_request(),
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


def complete_request() -> Json:
    request: Json = JobRequest.model_validate(JOB_REQUEST).model_dump(mode="json")
    return request | {"inputs": {"x": "x"}, "labels": "y", "output": "output", "target": {"class": "label", "score": "logit"}}
