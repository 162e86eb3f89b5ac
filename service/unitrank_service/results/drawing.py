"""Draws plots and reports, and reads large summaries, in a process of its own.

matplotlib needs about 50 MiB, and holds Python's lock for up to a second. In the service's process
no other request would be answered meanwhile.
"""

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

import unitrank_plots
from unitrank_plots.values import values_of, values_of_layers
from unitrank_schemas.results import LayeredResult
from unitrank_service.http.responses import encoded
from unitrank_service.results.layers.local_arrays import LocalArrays
from unitrank_service.results.parsed_result import parsed_layers, parsed_result
from unitrank_service.results.turns import Turns

T = TypeVar("T")

ATTEMPTS = 2
"""Attempts to run a function. The system may have killed the process since the last call."""
DRAWING_SECONDS = 60.0
"""Seconds that a function may take, with the start of the process."""


class DrawingTooSlow(Exception):
    """Raised if a function takes too long; its process is killed then. `seconds`: the limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the function did not end within {seconds:.0f} s")
        self.seconds = seconds


class DrawingProcess:
    """Runs functions in one process, one at a time. The first call starts the process.

    A pipe leads to the process. The pools of Python need semaphores, which a machine with a
    read-only file system may not have. Only one event loop may use an object of this class.

    `seconds`: those that a function may take.
    """

    def __init__(self, seconds: float = DRAWING_SECONDS) -> None:
        self.seconds = seconds
        self._turns = Turns()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    async def run(self, owner: str, function: Callable[..., T], *arguments: Any) -> T:  # Any: those of the function
        """Return the function's value. The process imports the function's module.

        `owner`: id of the key that asks; the owners of waiting calls take turns.
        Raises the function's exceptions, ChildProcessError if the process died, and DrawingTooSlow.
        """
        async with self._turns.turn(owner):
            return await run_in_threadpool(self._run, function, arguments)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _run(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        for _ in range(ATTEMPTS):
            connection = self._connection or self._start()
            try:
                connection.send((function, arguments))
                if not connection.poll(self.seconds):
                    # The next call starts another process.
                    self.close()
                    raise DrawingTooSlow(self.seconds)
                value, error = connection.recv()
            except (EOFError, BrokenPipeError, ConnectionResetError):
                self.close()
                continue
            if error is not None:
                raise error
            result: T = value
            return result
        raise ChildProcessError(f"the process that draws died {ATTEMPTS} times")

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._connection, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far,), daemon=True)
        self._process.start()
        far.close()
        return self._connection


def _serve(connection: Connection) -> None:
    """Run functions until the service closes the pipe, or ends."""
    # Ctrl-C reaches every process of a terminal. The service ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            function, arguments = connection.recv()
            value, error = None, None
            try:
                value = function(*arguments)
            except Exception as exception:
                error = exception
            connection.send((value, error))


def plot(summary: bytes, arrays: LocalArrays, name: str, form: str, choice: unitrank_plots.Choice) -> bytes:
    """Return the plot as a file. `summary`: the result as JSON. `arrays`: the file with its arrays.

    `form`: `png`, `svg`, or `json` for the values alone.

    The process that draws runs this function. Raises NoPicture where the result has no such plot.
    """
    if name in unitrank_plots.LAYERED:
        return _plot_of_layers(parsed_layers(summary), name, form, choice)
    with arrays.open() as file:
        if form == "json":
            return encoded(values_of(name, parsed_result(summary), file.mapped(), choice))
        # The service itself never loads matplotlib.
        from unitrank_plots.figures import draw, rendered

        return rendered(draw(name, parsed_result(summary), file.mapped(), choice), form, choice.style)


def _plot_of_layers(result: LayeredResult, name: str, form: str, choice: unitrank_plots.Choice) -> bytes:
    if form == "json":
        return encoded(values_of_layers(name, result, choice))
    from unitrank_plots.figures import draw_layers, rendered

    return rendered(draw_layers(name, result, choice), form, choice.style)
