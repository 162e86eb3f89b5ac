"""Takes the steps of a flow: over httpx and this thread, or over httpx and asyncio."""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import httpx

from unitrank.client.operations import Ask, Flow, OnBytesSent, Pause, Step
from unitrank.errors import NotPossible
from unitrank_schemas.loopback import is_loopback

T = TypeVar("T")
CHUNK = 1 << 20
# A host that is there takes a connection in far less.
CONNECT_SECONDS = 5.0
# What an answer may still take where the deadline is near, or has passed before anything was asked.
GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Wire:
    """In this thread."""

    http: httpx.Client

    def take(self, flow: Flow[T]) -> T:
        """What the flow returns in the end."""
        try:
            step = next(flow)
            while True:
                step = flow.send(self._taken(step))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            flow.close()

    def _taken(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return self._asked(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return step.work()

    def _asked(self, ask: Ask) -> httpx.Response | httpx.RequestError:
        content = ask.content if ask.file is None else _chunks(ask.file, ask.going, ask.sent)
        request = _request(self.http, ask, content)
        try:
            response = self.http.send(request, stream=True)
            try:
                if ask.target is None or not response.is_success:
                    response.read()
                else:
                    with opened(ask.target, "wb") as written:
                        for chunk in response.iter_bytes(CHUNK):
                            written.write(chunk)
            finally:
                response.close()
        except httpx.RequestError as error:
            return error
        return response


@dataclass(frozen=True)
class AsyncWire:
    """In asyncio's loop; what takes long runs in a thread beside it."""

    http: httpx.AsyncClient

    async def take(self, flow: Flow[T]) -> T:
        """What the flow returns in the end."""
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._taken(step))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            flow.close()

    async def _taken(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return await self._asked(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(step.work)

    async def _asked(self, ask: Ask) -> httpx.Response | httpx.RequestError:
        content = ask.content if ask.file is None else _chunks_beside(ask.file, ask.going, ask.sent)
        request = _request(self.http, ask, content)
        try:
            response = await self.http.send(request, stream=True)
            try:
                if ask.target is None or not response.is_success:
                    await response.aread()
                else:
                    with opened(ask.target, "wb") as written:
                        async for chunk in response.aiter_bytes(CHUNK):
                            await asyncio.to_thread(written.write, chunk)
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            return error
        return response


def new_client(build: Callable[[], T]) -> T:
    """An httpx client. Raises NotPossible where the environment's proxy or certificates cannot be used."""
    try:
        return build()
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise NotPossible(f"the proxy or the certificates that the environment names cannot be used: {error}") from error


def options(url: str, key: str | None, timeout: float) -> dict[str, Any]:
    """What both httpx clients are made with. Any: their own keyword arguments. Raises NotPossible."""
    address = _address(url)
    return {
        "base_url": address,
        "headers": _authorization(key),
        "timeout": _limits(timeout),
        # A proxy of the environment is no way to this machine itself.
        "trust_env": not is_loopback(address.host),
    }


@contextmanager
def opened(path: Path, mode: str) -> Iterator[BinaryIO]:
    """The file in a binary mode. Raises NotPossible, also for what goes wrong while it is open."""
    try:
        with path.open(mode) as file:
            # Any mode is binary here, which open's own types cannot see.
            yield cast(BinaryIO, file)
    except OSError as error:
        raise NotPossible(f"{path} cannot be {'read' if mode == 'rb' else 'written'}: {error.strerror or error}") from error


def _address(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise NotPossible(f"{url!r} is no address: {error}; write http://host:port", code="invalid_url") from error
    if found.scheme not in ("http", "https") or not found.host:
        raise NotPossible(f"{url!r} is no address of a service; write http://host:port", code="invalid_url")
    return found


def _authorization(key: str | None) -> dict[str, str]:
    bare = (key or "").strip()
    if not all("!" <= letter <= "~" for letter in bare):
        raise NotPossible("the key has characters that no key has", code="invalid_key")
    return {"Authorization": f"Bearer {bare}"} if bare else {}


def _limits(seconds: float | None) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS if seconds is None else min(seconds, CONNECT_SECONDS))


def _request(http: httpx.Client | httpx.AsyncClient, ask: Ask, content: Any) -> httpx.Request:
    # Any: what httpx takes as a body
    try:
        return http.build_request(ask.verb, ask.path, content=content, **_rest(ask, http.timeout))
    except (UnicodeError, httpx.InvalidURL) as error:
        raise NotPossible(f"{ask.verb} {ask.path} has text that cannot be sent", code="invalid_request") from error


def _rest(ask: Ask, limits: httpx.Timeout) -> dict[str, Any]:
    headers = dict(ask.headers)
    if ask.file is not None:
        # Without it httpx would send the body in chunks of unknown number.
        with opened(ask.file, "rb") as content:
            headers["Content-Length"] = str(os.fstat(content.fileno()).st_size)
    most = limits.read if ask.seconds is None else ask.seconds
    # What a POST has begun would be lost without its answer.
    left = math.inf if ask.verb == "POST" else ask.until.left + GRACE_SECONDS
    ends = [seconds for seconds in (most, left) if seconds is not None and math.isfinite(seconds)]
    return {"params": dict(ask.params) or None, "headers": headers, "timeout": _limits(min(ends, default=None))}


def _chunks(file: Path, going: Callable[[], None], sent: OnBytesSent) -> Iterator[bytes]:
    with opened(file, "rb") as content:
        while chunk := content.read(CHUNK):
            going()
            yield chunk
            sent(len(chunk))


async def _chunks_beside(file: Path, going: Callable[[], None], sent: OnBytesSent) -> AsyncIterator[bytes]:
    with opened(file, "rb") as content:
        while chunk := await asyncio.to_thread(content.read, CHUNK):
            going()
            yield chunk
            sent(len(chunk))
