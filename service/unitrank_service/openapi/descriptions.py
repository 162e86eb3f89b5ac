"""Parts of the OpenAPI document for routes: problems, binary bodies, headers, examples."""

from http import HTTPStatus
from typing import Any

from unitrank_schemas.problems import Problem

# The parts of an OpenAPI document are JSON objects.
Json = dict[str, Any]

BINARY: Json = {"type": "string", "format": "binary"}
"""The schema of a body of bytes."""

EXAMPLES: dict[int, tuple[str, str]] = {
    400: ("malformed_json", "the body is not JSON: Expecting value at line 1 column 10"),
    401: ("unauthorized", "the request has no key; send `Authorization: Bearer <key>`"),
    403: ("forbidden", "the key 'ci' lacks the scope 'write'; it has: read"),
    404: ("model_not_found", "no model 'mnist2'"),
    406: ("not_acceptable", "Accept 'image/png' names no available type; use application/json, text/csv, …"),
    409: ("not_finished", "the job 01j8x2m3n4p5q6r7s8t9v0w1x2 is running; it has a result after it has succeeded"),
    410: ("expired", "the result of the job 01j8x2m3n4p5q6r7s8t9v0w1x2 was deleted after 86400 s; submit the job again"),
    413: ("body_too_large", "the body is too large; at most 8388608 bytes are allowed"),
    415: ("unsupported_media_type", "Content-Type 'text/plain' is not supported; use 'application/json'"),
    422: ("layer_not_found", "layer 'conv9' not found; nearest: 'conv1', 'conv2'"),
    429: ("queue_full", "the queue holds 10000 jobs; at most 10000 are allowed: try again later"),
    500: (
        "internal",
        "this request failed because of an error in the service; the operator finds the reason in the log by request_id",
    ),
    503: ("store_unavailable", "the store does not answer; try again in 5 s"),
}
"""Status → code and detail of the example in the document."""
RETRIED = {429, 503}
"""Statuses whose answers have the header Retry-After."""


def problems(*statuses: int) -> dict[int | str, Json]:
    """Return the `responses` for the problems of a route: these statuses, and 400, 500 and 503."""
    return {status: _problem(status) for status in sorted({*statuses, 400, 500, 503})}


def body(content: Json, description: str) -> Json:
    """Return the `requestBody` of a route that reads its body without FastAPI."""
    return {"required": True, "description": description, "content": content}


def example(value: Json, summary: str) -> Json:
    """Return an example with a one-line summary."""
    return {"summary": summary, "value": value}


def header(description: str, kind: str = "string") -> Json:
    """Return a response header. `kind`: JSON type of its value."""
    return {"description": description, "schema": {"type": kind}}


def _problem(status: int) -> Json:
    code, detail = EXAMPLES[status]
    phrase = HTTPStatus(status).phrase
    problem: Json = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "6d0a3c1f5b7e4a7c8a4f0e9b2d1c3f5a",
    }
    if status == 422:
        problem["errors"] = [{"pointer": "/layer", "detail": detail, "code": code}]
    response: Json = {
        "description": phrase,
        "content": {
            "application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}, "example": problem}
        },
    }
    if status in RETRIED:
        response["headers"] = {"Retry-After": header("Seconds to wait before the next attempt.", "integer")}
    return response
