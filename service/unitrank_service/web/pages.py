"""HTML pages, rendered from templates. They load nothing from other hosts."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse

from unitrank_schemas.class_names import named
from unitrank_schemas.result_text import sentence
from unitrank_service.backend import key_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.authentication import COOKIE, admit
from unitrank_service.http.proxies import linked, route_path
from unitrank_service.http.requests import Handler, StrictRequest
from unitrank_service.problems import problem_for, problem_response
from unitrank_service.web.assets import address

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    # `no-referrer` would also remove the origin from a form's POST, and the POST would be rejected.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
TITLES = {
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    410: "Gone",
    422: "Invalid request",
    429: "Too many requests",
    503: "Not available",
}


class PageRoute(APIRoute):
    """A route that needs the scope `x-scope` (by default `read`) and answers a browser's errors
    with a page.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer: Handler = super().get_route_handler()
        scope = (self.openapi_extra or {}).get("x-scope", "read")

        async def handle(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            try:
                await admit(request, scope)
                return await answer(request)
            except Exception as error:  # the table of problems has an entry for every exception
                return await run_in_threadpool(_error_page, request, problem_for(request, error))

        return handle


def page(request: Request, template: str, status: int = 200, /, **values: Any) -> Response:
    """The rendered template.

    `values` are its variables; the user's rights and the URL are added.
    """
    key = key_of(request)
    context = {
        "key": key,
        "signed_in": COOKIE in request.cookies and bool(key.id),
        "may_write": key.may("write"),
        "may_put_models": key.may("models"),
        "base": str(request.base_url).rstrip("/"),
        "root": request.scope["root_path"],
        "here": route_path(request.scope),
    }
    html = _environment().get_template(template).render(context | values)
    return HTMLResponse(html, status, HEADERS)


def to(request: Request, path: str) -> Response:
    """Redirect the browser to the route's path, with GET."""
    return RedirectResponse(linked(request, path), 303, {"Cache-Control": "no-store"})


def _error_page(request: Request, error: HttpProblem) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return problem_response(request, error)
    if error.status_code == 401:
        path, query = route_path(request.scope), request.url.query
        target = path + (f"?{query}" if query else "") if request.method == "GET" else "/"
        return to(request, "/signin" if target == "/" else f"/signin?{urlencode({'next': target})}")
    answer = page(
        request,
        "error.html",
        error.status_code,
        title=TITLES.get(error.status_code, "Something went wrong"),
        detail=error.detail,
        code=error.code,
        request_id=request.scope.get("request_id", ""),
        has_cookie=COOKIE in request.cookies,
    )
    answer.headers.update({name: value for name, value in (error.headers or {}).items() if name.lower() != "www-authenticate"})
    return answer


def moment(seconds: float | None) -> str:
    """A unix time as text, in UTC; a dash for None."""
    return "–" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%-d %b %Y, %H:%M:%S UTC")


def short_moment(seconds: float) -> str:
    """A unix time as text without year and seconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %b, %H:%M")


def iso_moment(seconds: float) -> str:
    """A unix time as RFC 3339, for the attribute `datetime`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: int) -> str:
    """Bytes with a unit."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds with a suitable unit."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def axes(shape: list[int | None]) -> str:
    """A shape as text; N is the batch."""
    return " × ".join("N" if length is None else str(length) for length in shape) or "one number"


def with_code(text: str) -> Markup:
    """The text as HTML, with the parts between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _baselines(kinds: Mapping[str, tuple[str, Any]], fields: Sequence[str]) -> list[tuple[str, str]]:
    """Baselines as options; `field` only if a field fits."""
    return [(kind, words) for kind, (words, _) in kinds.items() if fields or kind != "field"]


@cache
def _environment() -> Environment:
    loader = PackageLoader("unitrank_service.web", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["static"] = address
    environment.filters |= {
        "moment": moment,
        "short_moment": short_moment,
        "iso_moment": iso_moment,
        "size": size,
        "duration": duration,
        "axes": axes,
        "sentence": sentence,
        "with_code": with_code,
        "called": named,
        "allowed": lambda options, names: [option for option in options if option[0] in names],
        "combine": lambda values, more: {**values, **more},
        "worded": _baselines,
        "labelled": lambda kinds: [(by, kind.form_label) for by, kind in kinds.items()],
        "zipped": lambda names: [(name, name) for name in names],
        "rows_of": lambda fields: [(field, f"the rows where {field} is true") for field in fields],
        "step": lambda text: quote(str(text), safe="@:"),
        "query": lambda values: urlencode({name: value for name, value in values.items() if value not in (None, "")}),
    }
    return environment
