"""A loop in a background thread, which does the work in the store, one piece after the other."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from unitrank_store.full import full_reason
from unitrank_store.unavailable import unavailable_reason


@dataclass
class PollingLoop:
    """Calls a function until all work is done, then waits until `wake` is called or time is over.

    `task`: plural name of the work in the log, such as `imports`. Nothing happens before `run`.
    """

    task: str
    _wake_up: threading.Condition = field(default_factory=threading.Condition)

    def run(self, stop: threading.Event, do_next: Callable[[], bool], look_seconds: Callable[[], float]) -> None:
        """Call `do_next` until `stop` is set.

        `do_next`: does one piece of work; returns False if there was no work.
        `look_seconds`: returns the maximum seconds to wait after a call without work.
        """
        while not stop.is_set():
            try:
                busy = do_next()
            except Exception as error:
                # The loop goes on after an error: one piece of work cannot stop the others.
                if reason := full_reason(error) or unavailable_reason(error):
                    structlog.get_logger().warning(f"{self.task} wait for the store", reason=reason)
                else:
                    structlog.get_logger().exception(f"{self.task} failed")
                busy = False
            if not busy:
                with self._wake_up:
                    self._wake_up.wait(look_seconds())

    def wake(self) -> None:
        """End the wait: there is new work, or `stop` is set."""
        with self._wake_up:
            self._wake_up.notify_all()
