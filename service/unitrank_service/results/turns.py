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
        self._owner = ""
        """The owner of the current or the last turn."""
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
            self._held, self._owner = True, owner
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
        if callers := self._waiting.pop(self._owner, None):
            # The owner whose turn ends comes last.
            self._waiting[self._owner] = callers
        while self._waiting:
            owner, callers = next(iter(self._waiting.items()))
            turn = callers.popleft()
            if not callers:
                del self._waiting[owner]
            # The future of a cancelled caller is done.
            if not turn.done():
                self._owner = owner
                turn.set_result(None)
                return
        self._held = False
