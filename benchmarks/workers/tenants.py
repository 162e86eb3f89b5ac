"""Measure what it costs that a worker's process holds the data of one tenant.

    python -m benchmarks.workers.tenants

It measures warm trivial jobs, from POST until `?wait` returns `succeeded`: of one tenant, and of
two tenants that alternate. One service keeps a process for each of four tenants. The other service
keeps one process, so that each change of the tenant takes the spare.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil
import torch
from torch import nn

from benchmarks.service.latency import JOB
from benchmarks.support.running import running
from benchmarks.support.uploads import put_dataset, put_model
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url
from unitrank_tables.sizes import MiB

TENANTS = ("a", "b")
Tenants = dict[str, httpx.Client]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=30, help="number of measured jobs of each kind")
    parser.add_argument("--pause", type=float, default=6.0, help="seconds in which a new spare loads")
    options = parser.parse_args()
    with ExitStack() as stack:
        four, one = (stack.enter_context(_service(children)) for children in (4, 1))
        seconds = _measure(four, one, options.jobs, options.pause)
        print(f"warm trivial job, POST to succeeded, {options.jobs} jobs of each kind (median)")
        base = median(seconds["one tenant"])
        for kind, values in seconds.items():
            print(f"{kind:58} {median(values) * 1000:8.1f} ms, {median(values) / base:6.2f} times one tenant")
        _print_memory()


def _measure(four: Tenants, one: Tenants, jobs: int, pause: float) -> dict[str, list[float]]:
    """Seconds of each job, by kind."""
    kinds: dict[str, list[float]] = {}
    for seed in range(jobs):
        kinds.setdefault("one tenant", []).append(_run_job(four["a"], 3 * seed))
        _run_job(four["b"], 3 * seed)
        kinds.setdefault("two tenants alternate, 4 processes", []).append(_run_job(four["a"], 3 * seed + 1))
    for seed in range(jobs):
        kinds.setdefault("two tenants alternate, 1 process, one after the other", []).append(_run_job(one[TENANTS[seed % 2]], seed))
    for seed in range(jobs, jobs + min(jobs, 10)):
        time.sleep(pause)
        kinds.setdefault(f"two tenants alternate, 1 process, every {pause:g} s", []).append(_run_job(one[TENANTS[seed % 2]], seed))
    return kinds


@contextmanager
def _service(children: int) -> Iterator[Tenants]:
    """A client for each of two tenants of a service, whose models are ready and were used."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unitrank-bench-")))
        settings = {"UNITRANK_STATE": str(folder / "state"), "UNITRANK_CHILDREN": str(children)}
        url = stack.enter_context(running(settings))
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        clients: Tenants = {}
        with connect(socket_url(folder / "state")) as connection:
            for tenant in TENANTS:
                _, key = KeyStore(connection).create(tenant, ["admin"], tenant)
                client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=90)
                clients[tenant] = stack.enter_context(client)
                put_dataset(client, "tiny", folder, x=np.ones((4, 4), dtype=np.float32))
                put_model(client, "tiny", net, torch.randn(2, 4), folder)
                for seed in range(5):
                    _run_job(client, -1 - seed)
        yield clients


def _run_job(http: httpx.Client, seed: int) -> float:
    """Seconds of one job. An unused seed makes a new job."""
    began = time.perf_counter()
    posted = http.post("/v1/jobs", json={**JOB, "seed": seed + 10}).raise_for_status()
    ended = http.get(posted.headers["Location"], params={"wait": 60}).raise_for_status().json()
    seconds = time.perf_counter() - began
    if ended["status"] != "succeeded":
        raise SystemExit(f"the job ended as {ended['status']}, not as succeeded: {ended['problem']}")
    return seconds


def _print_memory() -> None:
    """Print the memory of the idle children of the services that this process has started."""
    below = psutil.Process().children(recursive=True)
    children = [process for process in below if "unitrank_worker.process.child" in process.cmdline()]
    resident = sorted(process.memory_info().rss / MiB for process in children)
    unique = sorted(process.memory_full_info().uss / MiB for process in children)
    print(
        f"{len(children)} idle children: {resident[0]:.0f} to {resident[-1]:.0f} MiB resident, "
        f"{unique[0]:.0f} to {unique[-1]:.0f} MiB of them not shared with other processes"
    )


if __name__ == "__main__":
    main()
