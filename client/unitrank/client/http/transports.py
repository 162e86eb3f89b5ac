"""Carries out the steps of a flow: in this thread, or in asyncio, both over httpx."""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import httpx

from unitrank.client.http.operations import Flow, HttpRequest, OnBytesSent, Pause, Step
from unitrank.errors import NotPossible
from unitrank_schemas.loopback import is_loopback

T = TypeVar("T")
CHUNK = 1 << 20
# A host that is up accepts a connection in far less time.
CONNECT_SECONDS = 5.0
# How long an answer may still take when the deadline is near or already over.
GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class FlowRunner:
    """Runs flows in this thread."""

    http: httpx.Client
    sleep: Callable[[float], None] = time.sleep

    def run(self, flow: Flow[T]) -> T:
        """Carries out every step, and returns the flow's value."""
        try:
            step = next(flow)
            while True:
                step = flow.send(self._outcome(step))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            flow.close()

    def _outcome(self, step: Step) -> Any:
        if isinstance(step, HttpRequest):
            return self._send(step)
        if isinstance(step, Pause):
            return self.sleep(step.seconds)
        return step.function()

    def _send(self, step: HttpRequest) -> httpx.Response | httpx.RequestError:
        content = step.content if step.file is None else _chunks(step.file, step.before_chunk, step.on_sent)
        request = _build_request(self.http, step, content)
        try:
            response = self.http.send(request, stream=True)
            try:
                if step.target is None or not response.is_success:
                    response.read()
                else:
                    with opened(step.target, "wb") as written:
                        for chunk in response.iter_bytes(CHUNK):
                            written.write(chunk)
            finally:
                response.close()
        except httpx.RequestError as error:
            return error
        return response


@dataclass(frozen=True)
class AsyncFlowRunner:
    """Runs flows in asyncio's loop; slow work runs in a thread."""

    http: httpx.AsyncClient
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self, flow: Flow[T]) -> T:
        """Carries out every step, and returns the flow's value."""
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._outcome(step))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            flow.close()

    async def _outcome(self, step: Step) -> Any:
        if isinstance(step, HttpRequest):
            return await self._send(step)
        if isinstance(step, Pause):
            return await self.sleep(step.seconds)
        return await asyncio.to_thread(step.function)

    async def _send(self, step: HttpRequest) -> httpx.Response | httpx.RequestError:
        content = step.content if step.file is None else _async_chunks(step.file, step.before_chunk, step.on_sent)
        request = _build_request(self.http, step, content)
        try:
            response = await self.http.send(request, stream=True)
            try:
                if step.target is None or not response.is_success:
                    await response.aread()
                else:
                    with opened(step.target, "wb") as written:
                        async for chunk in response.aiter_bytes(CHUNK):
                            await asyncio.to_thread(written.write, chunk)
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            return error
        return response


def new_client(build: Callable[[], T]) -> T:
    """Builds an httpx client.

    Raises NotPossible if the environment names a proxy or certificates that cannot be used.
    """
    try:
        return build()
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise NotPossible(
            f"the proxy or the certificates of the environment cannot be used: {error}; "
            "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
        ) from error


def options(url: str, key: str | None, timeout: float) -> dict[str, Any]:
    """The keyword arguments of both httpx clients. Raises NotPossible."""
    # Any: the arguments have the types that httpx gives them.
    address = _address(url)
    return {
        "base_url": address,
        "headers": _authorization(key),
        "timeout": _limits(timeout),
        # Requests to this machine do not use a proxy of the environment.
        "trust_env": not is_loopback(address.host),
    }


@contextmanager
def opened(path: Path, mode: str) -> Iterator[BinaryIO]:
    """Opens the file in a binary mode. Raises NotPossible for every OSError inside the block."""
    try:
        with path.open(mode) as file:
            # cast: every mode is binary here, which the types of `open` cannot express.
            yield cast(BinaryIO, file)
    except OSError as error:
        raise NotPossible(f"{path} cannot be {'read' if mode == 'rb' else 'written'}: {error.strerror or error}") from error


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise NotPossible(f"the address {url!r} is invalid: {error}; write http://host:port", code="invalid_url") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise NotPossible(f"the address {url!r} is invalid: write http://host:port or https://host", code="invalid_url")
    return address


def _authorization(key: str | None) -> dict[str, str]:
    bare = (key or "").strip()
    if not all("!" <= letter <= "~" for letter in bare):
        # The message does not show the key.
        raise NotPossible(
            "the key is invalid: a key has only printable ASCII characters and no space; "
            "use the text that `unitrank keys create` printed",
            code="invalid_key",
        )
    return {"Authorization": f"Bearer {bare}"} if bare else {}


def _limits(seconds: float | None) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS if seconds is None else min(seconds, CONNECT_SECONDS))


def _build_request(http: httpx.Client | httpx.AsyncClient, step: HttpRequest, content: Any) -> httpx.Request:
    # Any: every type of body that httpx accepts.
    try:
        return http.build_request(step.verb, step.path, content=content, **_request_options(step, http.timeout))
    except (UnicodeError, httpx.InvalidURL) as error:
        raise NotPossible(
            f"{step.verb} {step.path} cannot be sent: its path or a parameter is not valid Unicode text", code="invalid_request"
        ) from error


def _request_options(step: HttpRequest, limits: httpx.Timeout) -> dict[str, Any]:
    headers = dict(step.headers)
    if step.file is not None:
        # Without a length httpx sends the body in chunks, and the service cannot know its size.
        with opened(step.file, "rb") as content:
            headers["Content-Length"] = str(os.fstat(content.fileno()).st_size)
    longest = limits.read if step.timeout is None else step.timeout
    # A POST has no deadline: without its answer, the caller would not know the id of the new job.
    left = math.inf if step.verb == "POST" else step.deadline.left + GRACE_SECONDS
    timeouts = [seconds for seconds in (longest, left) if seconds is not None and math.isfinite(seconds)]
    return {"params": dict(step.params) or None, "headers": headers, "timeout": _limits(min(timeouts, default=None))}


def _chunks(file: Path, before_chunk: Callable[[], None], on_sent: OnBytesSent) -> Iterator[bytes]:
    with opened(file, "rb") as content:
        while chunk := content.read(CHUNK):
            before_chunk()
            yield chunk
            on_sent(len(chunk))


async def _async_chunks(file: Path, before_chunk: Callable[[], None], on_sent: OnBytesSent) -> AsyncIterator[bytes]:
    with opened(file, "rb") as content:
        while chunk := await asyncio.to_thread(content.read, CHUNK):
            before_chunk()
            yield chunk
            on_sent(len(chunk))
