"""Takes the steps of a flow: over httpx and this thread, or over httpx and asyncio."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from unitrank.addresses import is_loopback
from unitrank.steps import Ask, Flow, Pause, Progress, Step

T = TypeVar("T")
CHUNK = 1 << 20


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
            found: T = end.value
            return found
        finally:
            flow.close()

    def _taken(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return self._asked(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return step.work()

    def _asked(self, ask: Ask) -> httpx.Response | httpx.TransportError:
        content = ask.content if ask.file is None else _chunks(ask.file, ask.sent)
        request = self.http.build_request(ask.verb, ask.path, content=content, **_rest(ask))
        try:
            response = self.http.send(request, stream=True)
            try:
                if ask.target is None or not response.is_success:
                    response.read()
                else:
                    with ask.target.open("wb") as written:
                        for chunk in response.iter_bytes(CHUNK):
                            written.write(chunk)
            finally:
                response.close()
        except httpx.TransportError as error:
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
            found: T = end.value
            return found
        finally:
            flow.close()

    async def _taken(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return await self._asked(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(step.work)

    async def _asked(self, ask: Ask) -> httpx.Response | httpx.TransportError:
        content = ask.content if ask.file is None else _chunks_beside(ask.file, ask.sent)
        request = self.http.build_request(ask.verb, ask.path, content=content, **_rest(ask))
        try:
            response = await self.http.send(request, stream=True)
            try:
                if ask.target is None or not response.is_success:
                    await response.aread()
                else:
                    with ask.target.open("wb") as written:
                        async for chunk in response.aiter_bytes(CHUNK):
                            await asyncio.to_thread(written.write, chunk)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            return error
        return response


def options(url: str, key: str | None, timeout: float) -> dict[str, Any]:
    """What both httpx clients are made with. Any: their own keyword arguments."""
    return {
        "base_url": url,
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "timeout": timeout,
        # A proxy of the environment is no way to this machine itself.
        "trust_env": not is_loopback(httpx.URL(url).host),
    }


def _rest(ask: Ask) -> dict[str, Any]:
    headers = dict(ask.headers)
    if ask.file is not None:
        # Without it httpx would send the body in chunks of unknown number.
        headers["Content-Length"] = str(ask.file.stat().st_size)
    told: dict[str, Any] = {"params": dict(ask.params) or None, "headers": headers}
    return told if ask.seconds is None else told | {"timeout": ask.seconds}


def _chunks(file: Path, sent: Progress) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            yield chunk
            sent(len(chunk))


async def _chunks_beside(file: Path, sent: Progress) -> AsyncIterator[bytes]:
    with file.open("rb") as content:
        while chunk := await asyncio.to_thread(content.read, CHUNK):
            yield chunk
            sent(len(chunk))
