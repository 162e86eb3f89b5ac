"""Requests as the contract wants them: who asks is known first, bodies are bounded while they stream, JSON is strict."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from unitrank_service.errors import HttpProblem
from unitrank_service.http import strict_json
from unitrank_service.http.authentication import admit

SMALL_BYTES = 64 * 1024
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRequest(Request):
    """A request whose JSON body is small enough, and JSON."""

    async def body(self) -> bytes:
        """Raises HttpProblem past the operator's limit, before the rest is read."""
        if not hasattr(self, "_body"):
            limit = self.app.state.settings.max_body_bytes
            too_large = HttpProblem("body_too_large", f"the body has more than the {limit} bytes that are allowed")
            self._body = b"".join([chunk async for chunk in bounded(self, limit, too_large)])
            self.state.body_bytes = len(self._body)
        return self._body

    async def json(self) -> Any:
        body = await self.body()
        # A large one would keep everyone else waiting.
        return strict_json.parse(body) if len(body) < SMALL_BYTES else await run_in_threadpool(strict_json.parse, body)


class Route(APIRoute):
    """A route that needs the scope `x-scope` of its OpenAPI entry (`read` without one), and reads strict JSON."""

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
    """Raises HttpProblem unless there is a body and it says that it is JSON."""
    kind = content_type(request)
    # A page of another site may send any text without asking first, but not this type.
    if kind != "application/json" and not kind.endswith("+json"):
        raise HttpProblem("unsupported_media_type", f"Content-Type {kind!r} is not read here; use 'application/json'")
    if not await request.body():
        raise HttpProblem("malformed_json", "the body is empty; expected a JSON object")


def content_type(request: Request) -> str:
    """The media type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def bounded(request: Request, limit: int, too_large: HttpProblem) -> AsyncIterator[bytes]:
    """The chunks of the body. Raises `too_large` as soon as there are more bytes than the limit."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpProblem("unsupported_media_type", "compressed bodies are not read; send the bytes as they are")
    announced = request.headers.get("content-length", "0")
    size = 0
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        if chunk:
            yield chunk
