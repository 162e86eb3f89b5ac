"""What routes say on the OpenAPI page beyond their schemas: problems, binary bodies, headers."""

from http import HTTPStatus
from typing import Any

from unitrank_schemas.problems import Problem

# The parts of an OpenAPI document are JSON objects.
Json = dict[str, Any]

BINARY: Json = {"type": "string", "format": "binary"}

EXAMPLES: dict[int, tuple[str, str]] = {
    400: ("malformed_json", "the body is no JSON: Expecting value at line 1 column 10"),
    401: ("unauthorized", "this service needs a key: `Authorization: Bearer <key>`"),
    403: ("forbidden", "the key 'ci' lacks the scope 'write'"),
    404: ("model_not_found", "no model 'mnist2'"),
    406: ("not_acceptable", "a result comes as application/json, application/vnd.safetensors, application/x-npz, text/csv"),
    409: ("not_finished", "the job is running; its result comes when it has succeeded"),
    410: ("expired", "the result was kept for 86400 s and is gone; post the job again"),
    413: ("body_too_large", "the body has more than the 8388608 bytes that are allowed"),
    415: ("unsupported_media_type", "Content-Type 'text/plain' is not read here; use 'application/json'"),
    422: ("layer_not_found", "layer 'conv9' not found; nearest: 'conv1', 'conv2'"),
    429: ("queue_full", "10000 jobs wait already; at most 10000 may"),
    500: ("internal", "the service failed at this request; its log has the reason under this request's id"),
    503: ("store_unavailable", "the store does not answer; try again later"),
}
RETRIED = {429, 503}


def problems(*statuses: int) -> dict[int | str, Json]:
    """The `responses` of a route that can answer these, besides what every route can."""
    return {status: _problem(status) for status in sorted({*statuses, 400, 500, 503})}


def body(content: Json, description: str) -> Json:
    """The `requestBody` of a route that reads the bytes itself."""
    return {"required": True, "description": description, "content": content}


def example(value: Json, summary: str) -> Json:
    """A named example."""
    return {"summary": summary, "value": value}


def header(description: str, kind: str = "string") -> Json:
    """A response header."""
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
        response["headers"] = {"Retry-After": header("Seconds until another try makes sense.", "integer")}
    return response
