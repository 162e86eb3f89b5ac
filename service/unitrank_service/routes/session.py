"""Signing in with a key, and out again; the page's own files."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_service.backend import backend_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.authentication import COOKIE, PUBLIC, WRONG_KEY
from unitrank_service.http.csrf import check_same_site
from unitrank_service.http.requests import content_type
from unitrank_service.web import form
from unitrank_service.web.assets import TYPES, asset
from unitrank_service.web.pages import PageRoute, page, to
from unitrank_store.access.sessions import SECONDS

router = APIRouter(include_in_schema=False, route_class=PageRoute)
FOR_ALL = {"x-scope": PUBLIC}
YEAR = 365 * 24 * 3600


@router.get("/signin", openapi_extra=FOR_ALL)
def show_sign_in(request: Request, next: str = "/") -> Response:
    """The form for a key; without stored keys there is nothing to sign in to."""
    if not backend_of(request).keys.any():
        return to("/")
    return page(request, "signin.html", next=_inside(next), wrong=None)


@router.post("/signin", openapi_extra=FOR_ALL)
async def sign_in(request: Request) -> Response:
    """A session for the key, in a cookie that no script reads and no other site's page sends."""
    # Signed in with a stranger's key, somebody would hand the stranger their data.
    check_same_site(request, by_cookie=True)
    sent = form.read(await request.body(), content_type(request))
    return await run_in_threadpool(_signed_in, request, sent.one("key"), _inside(sent.one("next", "/")))


@router.post("/signout", openapi_extra=FOR_ALL)
def sign_out(request: Request) -> Response:
    """The session ends here and in the store."""
    check_same_site(request, by_cookie=True)
    word = request.cookies.get(COOKIE)
    if word is not None:
        backend_of(request).sessions.close(word)
    answer = to("/signin")
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


@router.get("/static/{name}", openapi_extra=FOR_ALL)
async def static(request: Request, name: str, v: str = "") -> Response:
    """A file of the page; for ever where its version is named, and asked for again otherwise."""
    if name not in TYPES:
        raise HttpProblem("not_found", f"no file {name[:100]!r}")
    file = asset(name)
    keep = f"public, max-age={YEAR}, immutable" if v == file.version else "no-cache"
    headers = {"Cache-Control": keep, "ETag": f'"{file.version}"', "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.kind)


def _signed_in(request: Request, secret: str, next: str) -> Response:
    backend = backend_of(request)
    key = backend.keys.verify(secret)
    if key is None:
        return page(request, "signin.html", 401, next=next, wrong=WRONG_KEY)
    answer = to(next)
    answer.set_cookie(
        COOKIE,
        backend.sessions.open(key),
        max_age=SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def _inside(next: str) -> str:
    """Where to go after signing in: a place of this service, or its first page."""
    parts = urlsplit(next)
    inside = next.startswith("/") and next[1:2] not in ("/", "\\") and not parts.netloc and next.isprintable()
    return next if inside else "/"
