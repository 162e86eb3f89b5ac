"""Runs a slow function in a thread, so that the caller can do other work meanwhile."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundStep(Generic[T]):
    """A function that runs in a daemon thread, with the caller's context variables.

    It starts at once.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._done = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=copy_context().run, args=(self._run,), daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`. Returns whether the function has returned or raised."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """The function's value, or its exception, which is raised.

        Call it after `wait` returned True.
        """
        if self._error is not None:
            raise self._error
        (value,) = self._result
        return value

    def _run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()
