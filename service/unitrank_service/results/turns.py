"""Turns between tenants at something that serves one caller at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A lock that goes from one owner to the next, not to the caller that has waited longest.

    An owner with many waiting callers thus delays each other owner by one call only. Only one event
    loop may use an object of this class.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Owner → its callers, the next owner first."""

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of this owner, and hold the lock during the block."""
        await self._acquire(owner)
        try:
            yield
        finally:
            self._pass_on()

    async def _acquire(self, owner: str) -> None:
        if not self._held:
            self._held = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come before the caller was cancelled.
            if not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            owner = next(iter(self._waiting))
            callers = self._waiting.pop(owner)
            turn = callers.popleft()
            if callers:
                self._waiting[owner] = callers
            # The future of a cancelled caller is done.
            if not turn.done():
                turn.set_result(None)
                return
        self._held = False
