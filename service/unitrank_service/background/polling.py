"""A loop in the background: it takes work from the store piece by piece, and looks for new work."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
import structlog

from unitrank_store.full import full_reason


@dataclass
class PollingLoop:
    """Calls a function until all work is done, then waits for a wake-up or for the next look.

    `task`: plural name of the work in the log, such as `imports`. Nothing happens before `run`.
    """

    task: str
    _news: threading.Condition = field(default_factory=threading.Condition)

    def run(self, stop: threading.Event, do_next: Callable[[], bool], look_seconds: Callable[[], float]) -> None:
        """Call `do_next` until `stop` is set.

        `do_next`: does one piece of work; returns False where there was no work.
        `look_seconds`: returns the seconds until the next call where there was no work.
        """
        while not stop.is_set():
            try:
                busy = do_next()
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                structlog.get_logger().warning(f"{self.task} wait for the store", reason=str(error))
                busy = False
            except Exception as error:
                # The loop goes on after an error: one piece of work cannot stop the others.
                if reason := full_reason(error):
                    structlog.get_logger().warning(f"{self.task} wait for the store", reason=reason)
                else:
                    structlog.get_logger().exception(f"{self.task} failed")
                busy = False
            if not busy:
                with self._news:
                    self._news.wait(look_seconds())

    def wake(self) -> None:
        """Let a waiting loop look now: there is new work, or `stop` is set."""
        with self._news:
            self._news.notify_all()
