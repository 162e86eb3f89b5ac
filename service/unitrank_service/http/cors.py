"""CORS: pages of the origins that the operator names may send requests, always with a key.

A browser neither sends nor accepts cookies for such a page, because no answer allows credentials.
"""

from collections.abc import Sequence

from fastapi import Request
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from unitrank_service.errors import HttpProblem
from unitrank_service.problems import problem_response

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
    "Cache-Control",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "Traceparent",
    "X-Request-ID",
)
"""Headers that a page may send, besides those that every page may send."""
RESPONSE_HEADERS = ("Allow", "Content-Disposition", "ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID")
"""Headers that a page may read, besides those that every page may read."""


class PreflightRefused(HttpProblem):
    """A page asked whether it may send a request, and may not."""

    def __init__(self, origin: str, reason: str) -> None:
        detail = (
            f"a page of {origin[:100]!r} may not send this request ({reason}); the operator adds origins with UNITRANK_CORS_ORIGINS"
        )
        super().__init__("cross_site", detail)


class Cors(CORSMiddleware):
    """Answers preflights, and allows pages of the origins to read answers."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
            # A page of the internet may call a service of this network if the operator names it.
            allow_private_network=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except PreflightRefused as problem:
            await problem_response(Request(scope), problem)(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a preflight. Raises PreflightRefused."""
        answer = super().preflight_response(request_headers)
        if answer.status_code != 200:
            raise PreflightRefused(request_headers["origin"], bytes(answer.body).decode())
        return answer
