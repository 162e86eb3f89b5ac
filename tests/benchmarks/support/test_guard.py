"""Processes that several threads start all load the library of guard pages."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError

from benchmarks.support.guard import preloaded


def test_preloaded_in_two_threads_admits_one_at_a_time() -> None:
    both_inside = Barrier(2)

    def is_alone(library: str) -> bool:
        with preloaded(Path(library)):
            try:
                both_inside.wait(0.1)
            except BrokenBarrierError:
                return os.environ["LD_PRELOAD"] == library
            return False

    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(is_alone, ["/first.so", "/second.so"]))

    assert alone == [True, True]
    assert "LD_PRELOAD" not in os.environ
