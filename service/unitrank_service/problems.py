"""Errors as the client sees them (RFC 9457): one table from exception to problem, the same shape for every status."""

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
from unitrank_store.errors import Full, RecordNotFound, SizeExceeded, StateConflict, Unavailable
from unitrank_tables.errors import BadTable

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5

_ROOMS = {"models": "model", "datasets": "dataset", "jobs": "job", "methods": "method"}


def install(app: FastAPI) -> None:
    """Every exception of the table is answered with a problem from now on."""

    async def answer(request: Request, error: Exception) -> Response:
        return problem_response(request, problem_for(request, error))

    for kind in PROBLEMS:
        app.add_exception_handler(kind, answer)


def problem_response(request: Request, error: HttpProblem) -> Response:
    """The problem itself."""
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
    """What the table makes of an exception; `internal`, and a line in the log, for one it does not know."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind](request, error)
    structlog.get_logger().error("unexpected error", exc_info=error)
    return HttpProblem("internal", "the service failed at this request; its log has the reason under this request's id")


def _room(request: Request) -> str:
    steps = request.scope["path"].split("/")
    return _ROOMS.get(steps[2] if len(steps) > 2 else "", "")


def _as_it_is(request: Request, error: HttpProblem) -> HttpProblem:
    return error


def _of_framework(request: Request, error: HTTPException) -> HttpProblem:
    codes = {404: "not_found", 405: "method_not_allowed", 400: "malformed_json", 413: "body_too_large"}
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request)
    details = {
        404: f"no resource at {request.scope['path'][:200]!r}",
        405: f"{request.method} is not allowed here; allowed: {headers.get('Allow')}",
    }
    refused = HttpProblem(codes.get(error.status_code, "invalid_request"), details.get(error.status_code, error.detail), headers)
    refused.status_code = error.status_code
    return refused


def _allowed(request: Request) -> str:
    """All methods of the path; the framework names those of the first route alone."""
    routes = [route for router in request.app.state.routers for route in router.routes]
    return ", ".join(sorted({name for route in routes if route.path_regex.match(request.scope["path"]) for name in route.methods}))


def _of_schema(request: Request, error: RequestValidationError) -> HttpProblem:
    schema = getattr(getattr(request.scope.get("route"), "body_field", None), "field_info", None)
    return InvalidBody(invalid_places(error.errors(), error.body, getattr(schema, "annotation", None)))


def _of_checks(request: Request, error: RequestRejected) -> HttpProblem:
    return InvalidBody.of(error)


def _not_found(request: Request, error: RecordNotFound) -> HttpProblem:
    return HttpProblem(f"{_room(request)}_not_found".lstrip("_"), str(error))


def _conflict(request: Request, error: StateConflict) -> HttpProblem:
    codes = {"model": "model_in_use", "dataset": "dataset_in_use", "job": "job_not_ended"}
    return HttpProblem(codes.get(_room(request), "conflict"), str(error))


def _too_large(request: Request, error: SizeExceeded) -> HttpProblem:
    codes = {"model": "model_too_large", "dataset": "dataset_too_large"}
    return HttpProblem(codes.get(_room(request), "body_too_large"), str(error))


def _bad_table(request: Request, error: BadTable) -> HttpProblem:
    if error.code == "dataset_too_large":
        return HttpProblem(error.code, error.detail)
    # What a table says of its fields lies inside a job's request.
    at = f"/dataset{error.pointer}" if _room(request) == "job" else error.pointer
    return InvalidBody([Invalid(pointer=at, detail=error.detail, code=error.code)])


def _incomplete(request: Request, error: ClientDisconnect) -> HttpProblem:
    # Nobody reads the answer; the log has one line.
    return HttpProblem("incomplete_body", "the body ended before it was complete; nothing was kept")


def _full(request: Request, error: Exception) -> HttpProblem:
    return HttpProblem("store_full", f"no room: {error}; try again later", {"Retry-After": "60"})


def _unavailable(request: Request, error: Exception) -> HttpProblem:
    structlog.get_logger().warning("store unavailable", reason=str(error))
    return HttpProblem("store_unavailable", "the store does not answer; try again later", {"Retry-After": str(RETRY_SECONDS)})


# Each function takes the exception of its own line, which no annotation of a dict can say.
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
    Full: _full,
    redis.exceptions.OutOfMemoryError: _full,
    Unavailable: _unavailable,
    redis.exceptions.ConnectionError: _unavailable,
    redis.exceptions.TimeoutError: _unavailable,
}
"""Exception → problem."""
