"""Posts hundreds of jobs while a fault hits a process every few seconds.

The exit status is 1 if there are findings: for example, a job is lost, a result is wrong or a key
remains.
"""

import argparse
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import redis
import torch
from torch import nn

from benchmarks.chaos.clients import Answers, client_of, post_all
from benchmarks.chaos.faults import faults
from benchmarks.chaos.findings import all_records, findings, tally
from benchmarks.chaos.machine import Machine
from benchmarks.chaos.nodes import ray_nodes
from benchmarks.chaos.orders import Order, orders
from benchmarks.support.uploads import await_ready, put_dataset, put_model
from unitrank.exporting import export
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis.connection import connect
from unitrank_store.settings import Settings

SETTLE_SECONDS = 240.0
# Seconds in which the reaper deletes unpublished results: more than ten rounds of the reaper.
CLEANING_SECONDS = 7.0

Print = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """The settings of a run. The same seed makes the same jobs and the same faults.

    `jobs`: number of orders. `seconds`: duration of the faults. `every`: mean seconds between two
    faults. `with_nodes`: some jobs are divided between the machines of a Ray cluster, which have
    faults, too.
    """

    seed: int
    jobs: int
    seconds: float
    every: float
    with_nodes: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the jobs and the faults")
    parser.add_argument("--jobs", type=int, default=300, help="number of orders")
    parser.add_argument("--seconds", type=float, default=200, help="duration of the faults, in seconds")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults, on average")
    parser.add_argument("--without-ray", action="store_true", help="no Ray cluster beside the services and workers")
    parser.add_argument("--keep", type=Path, help="copy the log of the processes to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unitrank-chaos-", ignore_cleanup_errors=True) as folder:
        try:
            run = Run(options.seed, options.jobs, options.seconds, options.every, not options.without_ray)
            lines = chaos(Path(folder), run, print)
        finally:
            if options.keep:
                options.keep.write_bytes(Path(folder, "log").read_bytes())
    for line in lines:
        print(f"FINDING: {line}")
    if lines:
        raise SystemExit(f"{len(lines)} findings with seed {options.seed}")


def chaos(folder: Path, run: Run, report: Print) -> list[str]:
    """The findings after a run. Call it in the main thread.

    `folder`: for the state and the log of the processes. `report`: gets two lines that sum up the
    run.
    """
    with ray_nodes(folder / "state") if run.with_nodes else nullcontext() as nodes:
        if run.with_nodes and nodes is None:
            report("Ray is not installed (pip install 'unitrank[ray-test]'): no job is divided")
        run = replace(run, with_nodes=nodes is not None)
        machine = Machine(folder, nodes)
        settings = Settings(redis_url=machine.server.url, state=machine.state)
        with machine, connect(machine.server.url, 10) as connection:
            plan = orders(run.seed, run.jobs, run.seconds, with_nodes=run.with_nodes)
            models = _new_models(plan, folder)
            _prepare(machine, folder)
            lines = _run_orders(machine, connection, settings, run, plan, models, report)
    return lines + [f"a process still runs after the end: {process}" for process in machine.live_processes()]


def _run_orders(
    machine: Machine,
    connection: redis.Redis,
    settings: Settings,
    run: Run,
    plan: Sequence[Order],
    models: Mapping[int, bytes],
    report: Print,
) -> list[str]:
    answers, stop = Answers(), threading.Event()
    began = time.monotonic()
    posted = post_all(machine.urls, plan, models, answers, stop)
    try:
        counts = _inject(machine, run)
        ended = _settled(machine, connection, posted)
    finally:
        stop.set()
    report(f"{counts.total()} faults in {time.monotonic() - began:.0f} s: {_listed(counts)}")
    report(f"{run.jobs} orders; clients repeated {answers.retries} requests; {json.dumps(tally(all_records(connection)))}")
    lines = findings(connection, settings, plan, answers)
    return lines if ended else [f"not all jobs ended within {SETTLE_SECONDS:.0f} s", *lines]


def _inject(machine: Machine, run: Run) -> Counter[str]:
    counts: Counter[str] = Counter()
    for fault in faults(run.seed, run.seconds, run.every, with_nodes=run.with_nodes):
        machine.pass_time(fault.after)
        if machine.inject(fault):
            counts[f"{fault.action} {fault.target}"] += 1
    return counts


def _settled(machine: Machine, connection: redis.Redis, posted: Callable[[], bool]) -> bool:
    """Stop all faults; returns whether all jobs are posted and end within `SETTLE_SECONDS`."""
    machine.stop_faults()
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
    """Upload a model and two datasets; `broken` has one value that is NaN."""
    torch.manual_seed(0)
    rows = np.random.default_rng(0).normal(size=(1500, 16)).astype(np.float32)
    with client_of(machine.urls, 90) as http:
        await_ready(http)
        put_dataset(http, "rows", folder, x=rows)
        rows[3, 3] = np.nan
        put_dataset(http, "broken", folder, x=rows)
        put_model(http, "net", _network(), torch.zeros(2, 16), folder)


def _new_models(plan: Sequence[Order], folder: Path) -> dict[int, bytes]:
    """An archive for each order that needs a new model, by order number. All archives differ."""
    archives = {}
    for order in plan:
        if order.kind == "new":
            torch.manual_seed(order.number + 1)
            export(_network(), torch.zeros(2, 16), folder / "new.pt2")
            archives[order.number] = (folder / "new.pt2").read_bytes()
    return archives


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 4))


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    main()
