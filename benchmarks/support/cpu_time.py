"""CPU time of the processes that a benchmark has started, and the wait until they are idle."""

import time
from collections import Counter

import psutil

INTERVAL = 0.5
"""Seconds between two readings of CPU times."""
IDLE_SHARE = 0.2
"""The processes are idle if all together use less of one core."""
MOST_SECONDS = 120.0

NAMES = {
    "unitrank_worker.process.child": "children",
    "unitrank_worker": "workers",
    "unitrank_service": "service",
    "valkey-server": "store",
    "redis-server": "store",
}
"""Part of a command line → name of the process."""


def wait_until_idle() -> None:
    """Wait until the processes are idle: the spare children have then loaded their engines."""
    deadline, before = time.monotonic() + MOST_SECONDS, sum(cpu_seconds().values())
    while time.monotonic() < deadline:
        time.sleep(INTERVAL)
        now = sum(cpu_seconds().values())
        if now - before < IDLE_SHARE * INTERVAL:
            return
        before = now
    raise SystemExit(f"the processes of the service were not idle within {MOST_SECONDS:.0f} s")


def cpu_seconds() -> dict[str, float]:
    """Name → seconds of CPU time that the started processes of this name have used so far."""
    seconds = Counter[str]()
    for process in psutil.Process().children(recursive=True):
        try:
            times, command = process.cpu_times(), " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        name = next((name for part, name in NAMES.items() if part in command), "others")
        seconds[name] += times.user + times.system
    return dict(seconds)
