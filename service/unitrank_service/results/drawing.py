"""Draws plots and reports in a process of its own.

matplotlib needs about 50 MiB, and holds Python's lock for up to a second. In the service's process
no other request would be answered meanwhile.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

import unitrank_plots
from unitrank_schemas.results import Result
from unitrank_store.results.array_file import ArrayFile

T = TypeVar("T")

ATTEMPTS = 2
"""Attempts to run a function. The system may have killed the process since the last call."""


class DrawingProcess:
    """Runs functions in one process, one at a time. The first call starts the process.

    Only one event loop may use an object of this class.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:  # Any: those of the function
        """Return the function's value. The process imports the function's module.

        Raises the function's exceptions, and BrokenProcessPool if the process died.
        """
        for attempt in range(ATTEMPTS):
            pool = self._pool = self._pool or ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start)
            try:
                return await asyncio.wrap_future(await run_in_threadpool(pool.submit, function, *arguments))
            except BrokenProcessPool:
                if self._pool is pool:
                    self._pool = None
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """End the process after its current function."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def plot(summary: bytes, arrays: Path, name: str, form: str, choice: unitrank_plots.Choice) -> bytes:
    """Return the plot as a file. `summary`: the result as JSON. `arrays`: the file with its arrays.

    The process that draws runs this function. Raises NoPicture where the result has no such plot.
    """
    # The service itself never loads matplotlib.
    from unitrank_plots.figures import draw, rendered

    with ArrayFile(arrays.open("rb")) as file:
        return rendered(draw(name, Result.model_validate_json(summary), file.mapped(), choice), form)


def _start() -> None:
    # Ctrl-C reaches every process of a terminal. The service ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_service, daemon=True).start()


def _end_with_service() -> None:
    service = multiprocessing.parent_process()
    assert service
    service.join()
    os._exit(1)
