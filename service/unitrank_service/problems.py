"""Problems as the client sees them (RFC 9457), and the table from an exception to its problem."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import redis
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from unitrank_schemas.checks import RequestRejected
from unitrank_schemas.problems import Invalid, Problem
from unitrank_schemas.validation import invalid_places
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.proxies import route_path
from unitrank_store.errors import Full, RecordNotFound, SizeExceeded, StateConflict, Unavailable
from unitrank_store.full import full_reason
from unitrank_store.unavailable import unavailable_reason
from unitrank_tables.errors import BadTable

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5

_KINDS = {"models": "model", "datasets": "dataset", "jobs": "job", "methods": "method", "compare": "job"}
"""Second part of a path below /v1 → the kind of resource."""


def install(app: FastAPI) -> None:
    """Answer every exception of `PROBLEMS` with its problem."""

    async def answer(request: Request, error: Exception) -> Response:
        return problem_response(request, problem_for(request, error))

    for kind in PROBLEMS:
        app.add_exception_handler(kind, answer)


def problem_response(request: Request, error: HttpProblem) -> Response:
    """Return the response with the problem as `application/problem+json`."""
    problem = Problem(
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=error.detail,
        code=error.code,
        request_id=request.scope.get("request_id", ""),
        errors=error.errors,
    )
    body = problem.model_dump_json(exclude={"errors"} if error.errors is None else None)
    return Response(body, error.status_code, error.headers, MEDIA_TYPE)


def problem_for(request: Request, error: Exception) -> HttpProblem:
    """Return the problem of an exception.

    An exception that is not in the table is logged, and its problem is `internal`.
    """
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind](request, error)
    return _unexpected(request, error)


def _unexpected(request: Request, error: Exception) -> HttpProblem:
    structlog.get_logger().error("unexpected error", exc_info=error)
    detail = "this request failed because of an error in the service; the operator finds the reason in the log by request_id"
    return HttpProblem("internal", detail)


def _kind(request: Request) -> str:
    """The kind of resource that the path names; "" where it names none."""
    parts = route_path(request.scope).split("/")
    return _KINDS.get(parts[2] if len(parts) > 2 else "", "")


def _as_it_is(request: Request, error: HttpProblem) -> HttpProblem:
    return error


def _of_framework(request: Request, error: HTTPException) -> HttpProblem:
    headers = dict(error.headers or {})
    if error.status_code == 404:
        root = request.scope.get("root_path", "")
        detail = f"path {request.scope['path'][:200]!r} does not exist; {root}/openapi.json lists all paths"
        return HttpProblem("not_found", detail, headers)
    if error.status_code == 405:
        allowed = _allowed(request)
        detail = f"method {request.method} is not allowed for this path; allowed: {allowed}"
        return HttpProblem("method_not_allowed", detail, headers | {"Allow": allowed})
    codes = {400: "malformed_json", 413: "body_too_large"}
    problem = HttpProblem(codes.get(error.status_code, "invalid_request"), error.detail, headers)
    problem.status_code = error.status_code
    return problem


def _allowed(request: Request) -> str:
    """The methods of all routes with this path. Starlette names only those of the first route."""
    routes = [route for router in request.app.state.routers for route in router.routes]
    path = route_path(request.scope)
    methods = {name for route in routes if route.path_regex.match(path) for name in route.methods}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _of_schema(request: Request, error: RequestValidationError) -> HttpProblem:
    schema = getattr(getattr(request.scope.get("route"), "body_field", None), "field_info", None)
    return InvalidBody(invalid_places(error.errors(), error.body, getattr(schema, "annotation", None)))


def _of_checks(request: Request, error: RequestRejected) -> HttpProblem:
    return InvalidBody.of(error)


def _not_found(request: Request, error: RecordNotFound) -> HttpProblem:
    return HttpProblem(f"{_kind(request)}_not_found".lstrip("_"), str(error))


def _conflict(request: Request, error: StateConflict) -> HttpProblem:
    codes = {"model": "model_in_use", "dataset": "dataset_in_use", "job": "job_not_ended"}
    return HttpProblem(codes.get(_kind(request), "conflict"), str(error))


def _too_large(request: Request, error: SizeExceeded) -> HttpProblem:
    codes = {"model": "model_too_large", "dataset": "dataset_too_large"}
    return HttpProblem(codes.get(_kind(request), "body_too_large"), str(error))


def _bad_table(request: Request, error: BadTable) -> HttpProblem:
    if error.code in ("dataset_too_large", "dataset_corrupt"):
        return HttpProblem(error.code, error.detail)
    # A job's request holds an inline table under /dataset.
    pointer = f"/dataset{error.pointer}" if _kind(request) == "job" else error.pointer
    return InvalidBody([Invalid(pointer=pointer, detail=error.detail, code=error.code)])


def _incomplete(request: Request, error: ClientDisconnect) -> HttpProblem:
    # The client has disconnected: only the log shows this problem.
    return HttpProblem("incomplete_body", "the body ended before it was complete; nothing was stored")


def _full_or_unexpected(request: Request, error: Exception) -> HttpProblem:
    reason = full_reason(error)
    if reason is None:
        return _unavailable(request, error) if unavailable_reason(error) else _unexpected(request, error)
    structlog.get_logger().warning("store full", reason=str(error))
    return HttpProblem("store_full", f"the store is full: {reason}; try again later", {"Retry-After": "60"})


def _unavailable(request: Request, error: Exception) -> HttpProblem:
    structlog.get_logger().warning("store unavailable", reason=str(error))
    reason = unavailable_reason(error) or "does not answer"
    detail = f"the store {reason}; try again in {RETRY_SECONDS} s"
    return HttpProblem("store_unavailable", detail, {"Retry-After": str(RETRY_SECONDS)})


# Any: each function takes the exception of its own line. A dict's annotation cannot express that.
PROBLEMS: dict[type[Any], Callable[[Request, Any], HttpProblem]] = {
    HttpProblem: _as_it_is,
    HTTPException: _of_framework,
    RequestValidationError: _of_schema,
    RequestRejected: _of_checks,
    RecordNotFound: _not_found,
    StateConflict: _conflict,
    SizeExceeded: _too_large,
    BadTable: _bad_table,
    ClientDisconnect: _incomplete,
    Full: _full_or_unexpected,
    OSError: _full_or_unexpected,
    redis.exceptions.ResponseError: _full_or_unexpected,
    Unavailable: _unavailable,
    redis.exceptions.ConnectionError: _unavailable,
    redis.exceptions.TimeoutError: _unavailable,
}
"""Class of an exception → the function that makes its problem. Subclasses are covered too."""
