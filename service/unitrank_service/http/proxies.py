"""Proxies before the service: their headers, and the path prefix under which they show it.

    proxy that keeps the prefix      /unitrank/v1/jobs  ─┐
                                                         ├─▶ root_path /unitrank, path /unitrank/v1/jobs
    proxy that removes the prefix    /v1/jobs           ─┘

A link is the prefix and the path of a route; `linked` makes it.
"""

from collections.abc import Collection
from typing import Any, cast

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from unitrank_service.errors import HttpProblem
from unitrank_service.http.authentication import AllowedHosts
from unitrank_store.network_names import path_prefix


class ProxyMiddleware(ProxyHeadersMiddleware):
    """Reads the headers of a trusted proxy, and lets every path begin with the prefix.

    The headers are X-Forwarded-For, -Proto, -Host and -Prefix. Other clients cannot set them.
    `root_path`: the operator's prefix, which takes precedence; "" without one.
    `reserved`: first parts of the service's own paths, which a prefix must not have.
    `hosts`: hosts that a request may name; None allows every host.
    """

    def __init__(
        self, app: ASGIApp, *, trusted: Collection[str], root_path: str, reserved: Collection[str], hosts: AllowedHosts | None
    ) -> None:
        # cast: uvicorn has types of its own for ASGI.
        super().__init__(cast(Any, app), list(trusted))
        self._root_path = root_path
        self._reserved = reserved
        self._hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # Any: uvicorn's types
        if scope["type"] == "http":
            prefix = self._root_path
            if scope["client"] is not None and scope["client"][0] in self.trusted_hosts:
                prefix = prefix or self._sent_prefix(Headers(scope=scope))
                self._take_host(scope)
            _place_below(prefix, scope)
        await super().__call__(scope, receive, send)

    def _sent_prefix(self, headers: Headers) -> str:
        """The prefix that the proxy sent; "" without one. Raises HttpProblem for any other text."""
        text = _last(headers, "x-forwarded-prefix").rstrip("/")
        try:
            return check_prefix(text, self._reserved)
        except ValueError as error:
            raise HttpProblem("prefix_invalid", f"X-Forwarded-Prefix: {error}") from error

    def _take_host(self, scope: Scope) -> None:
        """Replace `Host` by the host that the client named to the proxy. Raises HttpProblem."""
        host = _last(Headers(scope=scope), "x-forwarded-host")
        if host:
            if self._hosts is not None:
                self._hosts.check(host)
            MutableHeaders(scope=scope)["host"] = host


def check_prefix(text: str, reserved: Collection[str]) -> str:
    """Return the path prefix, or "" for an empty text. Raises ValueError.

    `reserved`: first parts of the service's own paths.
    """
    if not text:
        return ""
    first = path_prefix(text).split("/")[1]
    if first in reserved:
        # /jobs would be the list of jobs to one proxy and the first page to another.
        raise ValueError(f"the prefix {text!r} begins with a path of the service, /{first}; choose another, such as /unitrank")
    return text


def linked(request: Request, path: str) -> str:
    """Return the path of a link to a route. `path`: the route's path, without the prefix."""
    return f"{request.scope['root_path']}{path}"


def route_path(scope: Scope) -> str:
    """Return the path of the request without the prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _place_below(prefix: str, scope: Scope) -> None:
    path: str = scope["path"]
    inside = path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path
    scope["root_path"], scope["path"] = prefix, prefix + (inside or "/")


def _last(headers: Headers, name: str) -> str:
    """The last value of a header: earlier ones may come from a client of the proxy."""
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()
