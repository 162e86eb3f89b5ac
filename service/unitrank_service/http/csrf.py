"""Whose page a browser's request comes from: what changes something is for the service's own pages, and for programs."""

from urllib.parse import urlsplit

from fastapi import Request

from unitrank_service.errors import HttpProblem

HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


def refuse_foreign(request: Request, *, by_cookie: bool) -> None:
    """Raises HttpProblem for a change that a page of another site asks for.

    A cookie comes with whatever a browser sends: then the request has to say that the page is our own.
    """
    if request.method in HARMLESS:
        return
    from_own_page = _from_own_page(request)
    if from_own_page is False or (from_own_page is None and by_cookie):
        detail = "a page of another site may not change anything here; use this service's own page, or a key"
        raise HttpProblem("cross_site", detail)


def _from_own_page(request: Request) -> bool | None:
    """None where the request does not say: it comes from a program, or from a very old browser."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    # The host alone: behind a proxy with TLS the scheme is another one.
    return None if origin is None else urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
