"""The command line: hundreds of jobs, a blow every second or so, and a status of 1 where something does not hold."""

import argparse
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import redis
import torch
from torch import nn

from benchmarks.chaos.blows import blows
from benchmarks.chaos.clients import Heard, post_all
from benchmarks.chaos.findings import all_records, findings, tally
from benchmarks.chaos.machine import Machine
from benchmarks.chaos.orders import Order, orders
from benchmarks.support.uploads import await_ready, put_dataset, put_model
from unitrank.exporting import export
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis.connection import connect
from unitrank_store.settings import Settings

SETTLE_SECONDS = 240.0
# Seconds in which the reaper takes away what was never published: ten of its rounds, and some.
CLEANING_SECONDS = 7.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """What is done; the same seed does the same."""

    seed: int
    jobs: int
    seconds: float
    every: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="other seeds make other jobs and other blows")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=200, help="how long there are blows")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two blows, on average")
    parser.add_argument("--keep", type=Path, help="copy what the processes said to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unitrank-chaos-", ignore_cleanup_errors=True) as folder:
        try:
            found = chaos(Path(folder), Run(given.seed, given.jobs, given.seconds, given.every), print)
        finally:
            if given.keep:
                given.keep.write_bytes(Path(folder, "log").read_bytes())
    for line in found:
        print(f"FINDING: {line}")
    if found:
        raise SystemExit(f"{len(found)} findings with seed {given.seed}")


def chaos(folder: Path, run: Run, say: Say) -> list[str]:
    """What does not hold after a run. To be called in the main thread."""
    machine = Machine(folder)
    settings = Settings(redis_url=machine.server.url, state=machine.state)
    with machine, connect(machine.server.url, 10) as connection:
        plan = orders(run.seed, run.jobs, run.seconds)
        models = _new_models(plan, folder)
        _prepare(machine, folder)
        found = _beaten(machine, connection, settings, run, plan, models, say)
    return found + [f"left: {process}" for process in machine.left()]


def _beaten(
    machine: Machine,
    connection: redis.Redis,
    settings: Settings,
    run: Run,
    plan: Sequence[Order],
    models: Mapping[int, bytes],
    say: Say,
) -> list[str]:
    heard, stop = Heard(), threading.Event()
    began = time.monotonic()
    posted = post_all(machine.url, plan, models, heard, stop)
    try:
        done = _strike(machine, run, say)
        ended = _settled(machine, connection, posted)
    finally:
        stop.set()
    say(f"{done.total()} blows in {time.monotonic() - began:.0f} s: {_listed(done)}")
    say(f"{run.jobs} orders; clients tried again {heard.retries} times; {json.dumps(tally(all_records(connection)))}")
    found = findings(connection, settings, plan, heard)
    return found if ended else [f"not all jobs ended within {SETTLE_SECONDS:.0f} s", *found]


def _strike(machine: Machine, run: Run, say: Say) -> Counter[str]:
    done: Counter[str] = Counter()
    for blow in blows(run.seed, run.seconds, run.every):
        machine.pass_time(blow.after)
        if machine.strike(blow):
            done[f"{blow.deed} {blow.target}"] += 1
    return done


def _settled(machine: Machine, connection: redis.Redis, posted: Callable[[], bool]) -> bool:
    """Whether all was posted and has ended, once nothing is done to the processes any more."""
    machine.calm()
    deadline = time.monotonic() + SETTLE_SECONDS
    jobs, inspections = JobStore(connection), JobStore(connection, kind="inspection")
    while time.monotonic() < deadline:
        machine.pass_time(0.5)
        with suppress(redis.exceptions.RedisError):
            if posted() and not jobs.live() and not inspections.live():
                machine.pass_time(CLEANING_SECONDS)
                return True
    return False


def _prepare(machine: Machine, folder: Path) -> None:
    """A model that is ready, data, and data in which one value is no number."""
    torch.manual_seed(0)
    rows = np.random.default_rng(0).normal(size=(1500, 16)).astype(np.float32)
    with httpx.Client(base_url=machine.url, timeout=90, trust_env=False) as http:
        await_ready(http)
        put_dataset(http, "rows", folder, x=rows)
        rows[3, 3] = np.nan
        put_dataset(http, "broken", folder, x=rows)
        put_model(http, "net", _network(), torch.zeros(2, 16), folder)


def _new_models(plan: Sequence[Order], folder: Path) -> dict[int, bytes]:
    """An archive for each order that needs one, no two alike."""
    found = {}
    for order in plan:
        if order.kind == "new":
            torch.manual_seed(order.number + 1)
            export(_network(), torch.zeros(2, 16), folder / "new.pt2")
            found[order.number] = (folder / "new.pt2").read_bytes()
    return found


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 4))


def _listed(done: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in done.most_common())


if __name__ == "__main__":
    main()
