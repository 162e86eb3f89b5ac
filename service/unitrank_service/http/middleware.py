"""The middleware of every request: request id, line in the log, check of the host, errors."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unitrank_service.errors import HttpProblem
from unitrank_service.http.authentication import AllowedHosts
from unitrank_service.observability.metrics import Metrics
from unitrank_service.problems import problem_for, problem_response

JOB = re.compile(r"/v1/jobs/([0-9a-z]{26})(/|$)")
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class RequestMiddleware:
    """The outermost middleware: every request gets an id, one line in the log, and an answer.

    `metrics`: counts the request. `hosts`: hosts that a request may name; None allows every host.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: AllowedHosts | None = None) -> None:
        self.app = app
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
            self._check_host(scope)
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # no handler answered the error: a client never gets a traceback
            problem = problem_for(Request(scope), error)
            if status:
                raise
            await problem_response(Request(scope), problem)(scope, receive, send_with_id)
        finally:
            structlog.get_logger().info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round(1000 * (time.perf_counter() - started), 1),
                **job,
            )

    def _check_host(self, scope: Scope) -> None:
        # DNS rebinding: another site lets its name resolve to this machine. `Host` has that name.
        if self.hosts is None:
            return
        host = Headers(scope=scope).get("host", "")
        if not self.hosts.admit(host):
            allowed = ", ".join(sorted(self.hosts.names))
            detail = f"host {host[:100]!r} is not allowed; allowed: {allowed}; the operator adds hosts with UNITRANK_HOSTS"
            raise HttpProblem("host_not_allowed", detail)


def _template(scope: Scope) -> str | None:
    """The path of the route with the names of its parameters; None if no route matches."""
    return getattr(scope.get("route"), "path", None)


def _job(scope: Scope, headers: Headers) -> dict[str, str]:
    """`{"job": id}` if the answer's `Location` or the request's path has a job's id, or `{}`."""
    match = JOB.match(headers.get("location", "")) or JOB.match(scope["path"])
    return {"job": match[1]} if match else {}
