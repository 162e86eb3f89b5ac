"""A function in a thread of its own, so that the caller can look around while it takes its time."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundStep(Generic[T]):
    """Runs the function at once, with the caller's context variables. The thread ends with the process at the latest."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._done = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=copy_context().run, args=(self._run,), daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether the function has returned or raised, at most that long from now."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """The returned value, once `wait` has said so. Raises what the function raised."""
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
