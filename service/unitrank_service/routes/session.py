"""The routes of the page's sessions, and of its static files."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_service.backend import backend_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.authentication import COOKIE, PUBLIC, WRONG_KEY
from unitrank_service.http.csrf import check_same_site
from unitrank_service.http.proxies import linked
from unitrank_service.http.requests import content_type
from unitrank_service.web.assets import TYPES, asset
from unitrank_service.web.job_form import form
from unitrank_service.web.pages import PageRoute, page, to
from unitrank_store.access.sessions import SECONDS

router = APIRouter(include_in_schema=False, route_class=PageRoute)
WITHOUT_KEY = {"x-scope": PUBLIC}
YEAR = 365 * 24 * 3600


@router.get("/signin", openapi_extra=WITHOUT_KEY)
def show_sign_in(request: Request, next: str = "/") -> Response:
    """The form for a key. Without stored keys it redirects to the first page."""
    if not backend_of(request).keys.any():
        return to(request, "/")
    return page(request, "signin.html", next=_inside(next), wrong=None)


@router.post("/signin", openapi_extra=WITHOUT_KEY)
async def sign_in(request: Request) -> Response:
    """Open a session for the key. Its cookie is HttpOnly and SameSite=Strict."""
    # Otherwise a page of another site could sign a person in with that site's own key, and the
    # person would store data where the other site can read them.
    check_same_site(request, by_cookie=True)
    sent = form.read(await request.body(), content_type(request))
    return await run_in_threadpool(_open_session, request, sent.one("key"), _inside(sent.one("next", "/")))


@router.post("/signout", openapi_extra=WITHOUT_KEY)
def sign_out(request: Request) -> Response:
    """End the session in the browser and in the store."""
    check_same_site(request, by_cookie=True)
    cookie = request.cookies.get(COOKIE)
    if cookie is not None:
        backend_of(request).sessions.close(cookie)
    answer = to(request, "/signin")
    answer.delete_cookie(COOKIE, path=_cookie_path(request), httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


@router.get("/static/{name}", openapi_extra=WITHOUT_KEY)
async def static(request: Request, name: str, v: str = "") -> Response:
    """A static file of the page. Browsers cache it for a year if `v` is its version."""
    if name not in TYPES:
        raise HttpProblem("not_found", f"file {name[:100]!r} does not exist")
    file = asset(name)
    caching = f"public, max-age={YEAR}, immutable" if v == file.version else "no-cache"
    headers = {"Cache-Control": caching, "ETag": f'"{file.version}"', "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.kind)


def _open_session(request: Request, secret: str, next: str) -> Response:
    backend = backend_of(request)
    key = backend.keys.verify(secret)
    if key is None:
        return page(request, "signin.html", 401, next=next, wrong=WRONG_KEY)
    answer = to(request, next)
    answer.set_cookie(
        COOKIE,
        backend.sessions.open(key),
        max_age=SECONDS,
        path=_cookie_path(request),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def _cookie_path(request: Request) -> str:
    """The path of the cookie: other services below the same host do not get it."""
    return linked(request, "") or "/"


def _inside(next: str) -> str:
    """`next` if it is a path of this service, or "/": signing in never leads to another site."""
    parts = urlsplit(next)
    is_inside = next.startswith("/") and next[1:2] not in ("/", "\\") and not parts.netloc and next.isprintable()
    return next if is_inside else "/"
