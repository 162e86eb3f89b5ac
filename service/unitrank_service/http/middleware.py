"""The middleware of every request: request id, line in the log, check of the host, errors, HEAD."""

import re
import time
import uuid
from collections.abc import Callable

import anyio
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unitrank_service.http.authentication import AllowedHosts
from unitrank_service.http.proxies import route_path
from unitrank_service.observability.metrics import Metrics
from unitrank_service.problems import problem_for, problem_response

log = structlog.get_logger()

JOB = re.compile(r"/v1/jobs/([0-9a-z]{26})(/|$)")
_HEAD = "unitrank.head"
"""Key of a scope whose request is a HEAD."""
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class RequestMiddleware:
    """The outermost middleware: every request gets an id, one line in the log, and an answer.

    `metrics`: counts the request. `hosts`: hosts that a request may name; None allows every host.
    `cors`: adds the headers of CORS to the answers of an application, also to unexpected errors.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, hosts: AllowedHosts | None = None, cors: Callable[[ASGIApp], ASGIApp] | None = None
    ) -> None:
        self.cors = cors or (lambda app: app)
        self.app = self.cors(app)
        self.metrics = metrics
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = sent_id if REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
        scope["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0
        job: dict[str, str] = {}

        async def send_with_id(message: Message) -> None:
            nonlocal status, job
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                job = _job(scope, headers)
                self.metrics.answered(scope["method"], _template(scope), status, time.perf_counter() - started)
            await send(message)

        try:
            if self.hosts is not None:
                self.hosts.check(Headers(scope=scope).get("host", ""))
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # no handler answered the error: a client never gets a traceback
            problem = problem_for(Request(scope), error)
            if status:
                raise
            await self.cors(problem_response(Request(scope), problem))(scope, receive, send_with_id)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round(1000 * (time.perf_counter() - started), 1),
                **job,
            )


class HeadMiddleware:
    """Answers HEAD as GET without the body. Routes see a GET, and `is_head` is true.

    A stream ends after its first lines, so that HEAD does not wait for its end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET", _HEAD: True}
        began = anyio.Event()
        no_body = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive_end() -> Message:
            message = next(no_body, None)
            if message is None:
                # A stream of Starlette ends when the client disconnects.
                await began.wait()
                message = {"type": "http.disconnect"}
            return message

        async def send_start(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The metrics read the route.
                scope["route"] = as_get.get("route")
                await send(message)
                began.set()

        await self.app(as_get, receive_end, send_start)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def is_head(scope: Scope) -> bool:
    """Whether the request is a HEAD that `HeadMiddleware` turned into a GET."""
    return _HEAD in scope


def _template(scope: Scope) -> str | None:
    """The path of the route with the names of its parameters; None if no route matches."""
    return getattr(scope.get("route"), "path", None)


def _job(scope: Scope, headers: Headers) -> dict[str, str]:
    """`{"job": id}` if the answer's `Location` or the request's path has a job's id, or `{}`."""
    location = headers.get("location", "").removeprefix(scope.get("root_path", ""))
    match = JOB.match(location) or JOB.match(route_path(scope))
    return {"job": match[1]} if match else {}
