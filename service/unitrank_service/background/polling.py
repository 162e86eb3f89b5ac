"""Work in the background that stands in the store: one piece after another, and a look now and then for what others left."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
import structlog


@dataclass
class PollingLoop:
    """`what` is how the log calls the work. Nothing is done before `run`."""

    what: str
    _news: threading.Condition = field(default_factory=threading.Condition)

    def run(self, stop: threading.Event, do_next: Callable[[], bool], look_seconds: Callable[[], float]) -> None:
        """Call `do_next` until told to stop; where it says that there was nothing, after so many seconds or when woken."""
        while not stop.is_set():
            try:
                busy = do_next()
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                structlog.get_logger().warning(f"{self.what} wait for the store", reason=str(error))
                busy = False
            except Exception:
                # Whatever one round stumbles over: the next one begins anew.
                structlog.get_logger().exception(f"round of {self.what} failed")
                busy = False
            if not busy:
                with self._news:
                    self._news.wait(look_seconds())

    def wake(self) -> None:
        """There is something new to do, or it is time to stop."""
        with self._news:
            self._news.notify_all()
