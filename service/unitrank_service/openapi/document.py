"""The OpenAPI page: FastAPI's, with problems instead of its own errors, and the key that requests may carry."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from unitrank_schemas.deliveries import Announcement
from unitrank_schemas.models import Location
from unitrank_schemas.problems import Problem
from unitrank_service.http.authentication import PUBLIC
from unitrank_service.openapi.descriptions import header
from unitrank_service.openapi.examples import answers

ANNOUNCED: dict[str, Any] = {
    "summary": "A job has ended",
    "description": "Sent to the `webhook` of a job's request, signed after Standard Webhooks with the secret of the request's key. "
    "At least once: `webhook-id` is the same each time. Anything but 2xx is tried again, 410 excepted.",
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
    "responses": {"2XX": {"description": "Heard."}, "410": {"description": "Not wanted any more."}},
}
"""What the service itself posts."""

_TEMPLATE = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """`app.openapi()` makes the page once, when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _page(app)
        return app.openapi_schema

    # FastAPI's documented way to change the page is to replace the method.
    app.openapi = openapi  # type: ignore[method-assign]


def _page(app: FastAPI) -> dict[str, Any]:
    page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = page.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key; optional without stored keys."}
    }
    schemas = components.setdefault("schemas", {})
    _, definitions = models_json_schema(
        [(Problem, "serialization"), (Announcement, "serialization"), (Location, "validation")], ref_template=_TEMPLATE
    )
    schemas.update(definitions["$defs"])
    page["webhooks"] = {"job.ended": {"post": ANNOUNCED}}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    examples = answers()
    for path in page["paths"].values():
        for method, operation in path.items():
            _complete(operation)
            _exemplify(operation, examples)
            if method == "get":
                _tag(operation)
    return page


def _complete(operation: dict[str, Any]) -> None:
    scope = operation.get("x-scope", "read")
    operation["security"] = [] if scope == PUBLIC else [{}, {"key": []}]
    operation["x-scope"] = scope
    # FastAPI adds its own 422 to every route with a parameter; ours are named by the routes.
    answers = operation["responses"]
    if "application/json" in answers.get("422", {}).get("content", {}):
        del answers["422"]
    for response in answers.values():
        response.setdefault("headers", {})["X-Request-ID"] = header("The request's id, as sent or made.")


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _tag(operation: dict[str, Any]) -> None:
    """Single resources carry an ETag, lists do not."""
    answers = operation["responses"]
    schema = _name(answers["200"].get("content", {}).get("application/json", {}).get("schema", {}))
    if schema and not schema.startswith("Page_"):
        answers["200"]["headers"]["ETag"] = header("Of this state; send it back as `If-None-Match`.")
        answers["304"] = {"description": "What `If-None-Match` names is what there is.", "headers": answers["200"]["headers"]}


def _exemplify(operation: dict[str, Any], examples: dict[str, dict[str, Any]]) -> None:
    """An example beside every JSON schema that has none."""
    for message in [operation.get("requestBody", {}), *operation["responses"].values()]:
        content = message.get("content", {}).get("application/json", {})
        schema = content.get("schema", {})
        choices = [_name(choice) for choice in schema.get("anyOf", [])]
        if choices and set(choices) <= examples.keys():
            content["examples"] = {choice: {"value": examples[choice]} for choice in choices}
        name = _name(schema)
        if name in examples and not {"example", "examples"} & set(content):
            content["example"] = examples[name]
