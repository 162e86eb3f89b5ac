"""The OpenAPI document: FastAPI's document, completed with problems, keys and examples."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from unitrank_schemas.deliveries import Announcement
from unitrank_schemas.models import Location
from unitrank_schemas.problems import Problem
from unitrank_schemas.results import Plot
from unitrank_service.http.authentication import PUBLIC
from unitrank_service.openapi.descriptions import header
from unitrank_service.openapi.examples.by_schema import examples_by_schema

WEBHOOK: dict[str, Any] = {
    "summary": "A job has ended",
    "description": "The service posts this to the `webhook` of a job's request when the job has ended. "
    "The POST is signed as Standard Webhooks specifies, with the webhook secret of the request's key. "
    "It is sent at least once; `webhook-id` is the same in every attempt. "
    "Any answer but 2xx leads to another attempt, except 410, which ends the attempts.",
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{Announcement.__name__}"},
                "example": {"id": "01j8x2m3n4p5q6r7s8t9v0w1x2", "status": "succeeded"},
            }
        },
    },
    "responses": {
        "2XX": {"description": "The webhook was delivered."},
        "410": {"description": "The service stops its attempts."},
    },
}
"""The request that the service posts to a webhook."""

SUCCESS = {
    "200": "The answer.",
    "201": "The resource was created.",
    "202": "The request was accepted; the work follows.",
    "204": "The resource was deleted.",
}
"""Status → description of a response for which its route has none."""

REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Id of the request in the answer and in every line of the log. Without a valid id the service makes one.",
}
"""The header that every request may have."""

_TEMPLATE = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """Replace `app.openapi`, which makes the document at the first request for it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    # FastAPI's documentation recommends replacing the method.
    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=app.separate_input_output_schemas,
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key. It is optional while the service has no stored keys.",
        }
    }
    schemas = components.setdefault("schemas", {})
    _, definitions = models_json_schema(
        [(Problem, "serialization"), (Announcement, "serialization"), (Location, "validation"), (Plot, "serialization")],
        ref_template=_TEMPLATE,
    )
    schemas.update(definitions["$defs"])
    document["webhooks"] = {"job.ended": {"post": WEBHOOK}}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _describe_structured_defaults(schemas)
    examples = examples_by_schema()
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete(operation)
            _add_examples(operation, examples)
            if method == "get":
                _add_etag(operation)
    return document


def _describe_structured_defaults(node: Any) -> None:
    """Move each default that is an object or an array from the schemas into their descriptions.

    Generators of clients reject such a default. A client that sends nothing gets the default.
    """
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _describe_structured_defaults(child)
    if isinstance(node, dict) and isinstance(node.get("default"), dict | list):
        default = json.dumps(node.pop("default"))
        node["description"] = f"{node.get('description', '')} Default: `{default}`.".lstrip()


def _complete(operation: dict[str, Any]) -> None:
    """Add scope, key, X-Request-ID and descriptions to an operation; remove FastAPI's own 422."""
    scope = operation.get("x-scope", "read")
    operation["security"] = [] if scope == PUBLIC else [{}, {"key": []}]
    operation["x-scope"] = scope
    operation.setdefault("parameters", []).append(REQUEST_ID)
    # FastAPI adds a 422 of type application/json to every route with a parameter.
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]
    for status, response in responses.items():
        if response["description"] == "Successful Response":
            response["description"] = SUCCESS[status]
        response.setdefault("headers", {})["X-Request-ID"] = header(
            "Id of the request: the one that the client sent, or a new one."
        )


def _name(schema: dict[str, Any]) -> str:
    """The name of the schema that a `$ref` points to; "" without a `$ref`."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _add_etag(operation: dict[str, Any]) -> None:
    """Add the ETag and 304 to a GET of a single resource. Lists have no ETag."""
    responses = operation["responses"]
    schema = responses["200"].get("content", {}).get("application/json", {}).get("schema", {})
    names = [_name(choice) for choice in schema.get("anyOf", [schema])]
    if all(names) and not names[0].startswith("Page_"):
        responses["200"]["headers"]["ETag"] = header("Tag of this content. Send it as `If-None-Match` in the next request.")
        responses["304"] = {
            "description": "Not modified: `If-None-Match` contains the current ETag.",
            "headers": responses["200"]["headers"],
        }


def _add_examples(operation: dict[str, Any], examples: dict[str, dict[str, Any]]) -> None:
    """Add an example to every JSON schema without one. `examples`: name of a schema → example."""
    for message in [operation.get("requestBody", {}), *operation["responses"].values()]:
        content = message.get("content", {}).get("application/json", {})
        schema = content.get("schema", {})
        choices = [_name(choice) for choice in schema.get("anyOf", [])]
        if choices and set(choices) <= examples.keys():
            content["examples"] = {choice: {"value": examples[choice]} for choice in choices}
        name = _name(schema)
        if name in examples and not {"example", "examples"} & set(content):
            content["example"] = examples[name]
