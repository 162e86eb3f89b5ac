"""Reading requests: the key is checked first, bodies are limited while they stream."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from unitrank_service.errors import HttpProblem
from unitrank_service.http import strict_json
from unitrank_service.http.authentication import admit

SMALL_BYTES = 64 * 1024
"""A larger body is parsed in a thread, so that other requests do not wait."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRequest(Request):
    """A request whose body is limited to `max_body_bytes` and parsed as strict JSON."""

    async def body(self) -> bytes:
        """Return the whole body. Raises HttpProblem as soon as it exceeds the limit."""
        if not hasattr(self, "_body"):
            limit = self.app.state.settings.max_body_bytes
            too_large = HttpProblem("body_too_large", f"the body is too large; at most {limit} bytes are allowed")
            self._body = b"".join([chunk async for chunk in bounded(self, limit, too_large)])
            self.state.body_bytes = len(self._body)
        return self._body

    async def json(self) -> Any:
        """Return the parsed body. Raises HttpProblem as `strict_json.parse` does."""
        # Any: JSON
        body = await self.body()
        return strict_json.parse(body) if len(body) < SMALL_BYTES else await run_in_threadpool(strict_json.parse, body)


class Route(APIRoute):
    """A route that checks the key first, and reads its body as strict JSON.

    The scope is `x-scope` of the route's `openapi_extra`; the default is `read`.
    """

    def get_route_handler(self) -> Handler:
        answer = super().get_route_handler()
        scope = (self.openapi_extra or {}).get("x-scope", "read")
        takes_json = self.body_field is not None

        async def handle(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            await admit(request, scope)
            if takes_json:
                await check_json(request)
            return await answer(request)

        return handle


async def check_json(request: Request) -> None:
    """Raises HttpProblem if the body is empty or its Content-Type is not JSON."""
    kind = content_type(request)
    # Without a CORS preflight a page of another site can send text, but not this type.
    if kind != "application/json" and not kind.endswith("+json"):
        raise HttpProblem("unsupported_media_type", f"Content-Type {kind!r} is not supported; use 'application/json'")
    if not await request.body():
        raise HttpProblem("malformed_json", "the body is empty; expected a JSON object")


def content_type(request: Request) -> str:
    """Return the media type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def bounded(request: Request, limit: int, too_large: HttpProblem) -> AsyncIterator[bytes]:
    """Yield the chunks of the body. Raises `too_large` as soon as `limit` bytes are exceeded."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        detail = f"Content-Encoding {encoding[:100]!r} is not supported; send the body without compression"
        raise HttpProblem("unsupported_media_type", detail)
    content_length = request.headers.get("content-length", "0")
    size = 0
    if content_length.isdigit() and int(content_length) > limit:
        raise too_large
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        if chunk:
            yield chunk
