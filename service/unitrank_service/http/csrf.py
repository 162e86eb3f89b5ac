"""Protection against cross-site requests: only the service's own pages and programs may write."""

from urllib.parse import urlsplit

from fastapi import Request

from unitrank_service.errors import HttpProblem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""


def check_same_site(request: Request, *, by_cookie: bool) -> None:
    """Raises HttpProblem for a change that a page of another site requests.

    `by_cookie`: the request is authenticated by its cookie. A browser adds the cookie to requests
    of every page, so the request's headers must then show that the service's own page sent it.
    """
    if request.method in SAFE_METHODS:
        return
    same_site = _is_same_site(request)
    if same_site is False or (same_site is None and by_cookie):
        detail = "a page of another site cannot change anything here; use this service's own page, or send a key"
        raise HttpProblem("cross_site", detail)


def is_of_named_origin(request: Request) -> bool:
    """Whether a page of another site sent the request, and the operator names its origin."""
    origins: tuple[str, ...] = request.app.state.settings.cors_origins
    return request.headers.get("origin") in origins and _is_same_site(request) is False


def _is_same_site(request: Request) -> bool | None:
    """Whether the service's own page sent the request.

    None if no header shows the sender's site: the client is a program or a very old browser.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    # Only the host is compared, because behind a proxy with TLS the scheme differs.
    return None if origin is None else urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
