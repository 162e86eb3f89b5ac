"""The largest memory of a process while a block runs."""

import threading

import psutil

POLL_SECONDS = 0.01


class PeakMemory:
    """Measures resident bytes of the process: `before` the block, and at `most` during it."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before = self.most = process.memory_info().rss

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            self.most = max(self.most, self._process.memory_info().rss)
