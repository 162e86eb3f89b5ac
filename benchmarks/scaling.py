"""Measure what a job costs the store, the service and a worker: the numbers of docs/scaling.md.

The command starts a service with one worker, and prints the tables of docs/scaling.md for this
machine. `--record` also writes benchmarks/scaling.json, and the tables of the page. Other processes
on the machine make the times longer, and do not change commands and bytes.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch
from docs.generate import scaling_tables
from torch import nn

from benchmarks.support.uploads import await_ready, put_dataset, put_model
from benchmarks.support.use import Meter, Use
from unitrank.client.sync import Client
from unitrank.server import demo
from unitrank.server.local import local
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url

ROOT = Path(__file__).parents[1]
Json = dict[str, Any]
NO_REUSE = {"Cache-Control": "no-cache"}
WARM = 10
FEATURES = 64
SCORES_ONLY: Json = {"ablation": None, "fidelity": None}
TINY: Json = {"model": "tiny", "layer": "1", "dataset": "tiny", "methods": ["activation"], **SCORES_ONLY}
SIZED: Json = {"model": "dense", "layer": "1", "methods": ["gradient"], "clusters": {"by": "label"}, **SCORES_ONLY}
HEAVY_WIDTH, HEAVY_DEPTH = 2048, 8
INLINE_ROWS = 1000


class Bench:
    """Requests to one service, and the use of its processes."""

    def __init__(self, http: httpx.Client, meter: Meter) -> None:
        self._http = http
        self._meter = meter
        self._seed = 0
        self._idle = Use(*[0.0] * 8)

    def watch_idle(self, seconds: float) -> Use:
        """The use of a second without jobs. Later measurements leave it out."""
        began, before = time.monotonic(), self._meter.read()
        time.sleep(seconds)
        self._idle = self._meter.read().since(before, 1 / (time.monotonic() - began))
        return self._idle

    def use_of(self, step: Callable[[], object], count: int) -> tuple[Use, float]:
        """The use of one step without the idle use, and its median seconds."""
        times, before = [], self._meter.read()
        for _ in range(count):
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
        used = self._meter.read().since(before, 1 / count)
        idle = self._idle.since(Use(*[0.0] * 8), sum(times) / count)
        return used.since(idle), statistics.median(times)

    def run(self, job: Json) -> str:
        """Run a job with an unused seed, without parts of other jobs. Returns its address."""
        self._seed += 1
        posted = self._http.post("/v1/jobs", json={**job, "seed": self._seed}, headers=NO_REUSE).raise_for_status()
        address = posted.headers["Location"]
        while not (state := self._http.get(address, params={"wait": 60}).raise_for_status().json())["finished_at"]:
            continue
        if state["status"] != "succeeded":
            raise SystemExit(f"the job ended as {state['status']}, not as succeeded: {state['problem']}")
        return str(address)

    def get(self, address: str) -> httpx.Response:
        """The answer to a GET."""
        return self._http.get(address).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="number of small jobs")
    parser.add_argument("--repeats", type=int, default=1, help="number of jobs of each size")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes of the datasets")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds without jobs")
    parser.add_argument("--record", action="store_true", help="write benchmarks/scaling.json and the tables of docs/scaling.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unitrank-scaling-") as name, serving(Path(name)) as (http, bench):
        measured = measure(http, bench, Path(name), options)
    print(scaling_tables.tables(measured))
    if options.record:
        (ROOT / scaling_tables.RESULTS).write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        scaling_tables.write(ROOT)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[httpx.Client, Bench]]:
    """A service with one worker, and requests to it."""
    with local(folder) as service, httpx.Client(base_url=service.url, timeout=600, trust_env=False) as http:
        await_ready(http)
        with connect(socket_url(folder / "state"), 10) as connection:
            yield http, Bench(http, Meter(connection, psutil.Process(service.process.pid)))


def measure(http: httpx.Client, bench: Bench, folder: Path, options: argparse.Namespace) -> Json:
    """All constants of the page, as a JSON object."""
    torch.manual_seed(0)
    put_dataset(http, "tiny", folder, x=np.ones((4, 4), dtype=np.float32))
    put_model(http, "tiny", nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), folder)
    for _ in range(WARM):
        bench.run(TINY)
    steps: dict[str, Callable[[], Any]] = {
        "idle": lambda: vars(bench.watch_idle(options.idle)),
        "small": lambda: _small(bench, options.jobs),
        "requests": lambda: _requests(bench, options.jobs),
        "inline": lambda: _inline(bench, options.repeats),
        "loading": lambda: _loading(http, bench, folder),
        "sizes": lambda: [_size(http, bench, folder, rows, options.repeats) for rows in options.rows],
        "demo": lambda: _demo(http, bench, folder),
    }
    measured: Json = {"machine": f"{platform.machine()}, one thread for each process, torch {torch.__version__}"}
    for name, step in steps.items():
        measured[name] = step()
        print(f"{name}: {json.dumps(measured[name])}", file=sys.stderr, flush=True)
    return measured


def _small(bench: Bench, jobs: int) -> Json:
    used, seconds = bench.use_of(lambda: bench.run(TINY), jobs)
    return {**vars(used), "seconds": seconds}


def _requests(bench: Bench, count: int) -> Json:
    address = bench.run(TINY)
    costs = {
        "status": bench.use_of(lambda: bench.get(address), count),
        "result": bench.use_of(lambda: bench.get(f"{address}/result"), count),
    }
    return {name: {**vars(used), "seconds": seconds} for name, (used, seconds) in costs.items()}


def _demo(http: httpx.Client, bench: Bench, folder: Path) -> Json:
    """The demo's job as it is, its five rankings as five jobs, and without ablation."""
    demo.make(folder, 0)
    with Client(str(http.base_url)) as client:
        client.models.put(demo.MODEL, folder / "digits.pt2", quiet=True)
        client.datasets.put(demo.DATA, folder / "digits.npz", quiet=True)
    job = demo.request(0).model_dump(mode="json", exclude_unset=True)
    without_ablation = {**job, **SCORES_ONLY}
    bench.run(without_ablation)
    plain = bench.use_of(lambda: bench.run(without_ablation), 1)[1]
    used, seconds = bench.use_of(lambda: bench.run(job), 1)
    alone = [bench.use_of(lambda method=method: bench.run({**job, "methods": [method]}), 1)[1] for method in demo.METHODS]
    return {**vars(used), "seconds": seconds, "one_by_one": sum(alone), "without_ablation": plain}


def _size(http: httpx.Client, bench: Bench, folder: Path, rows: int, repeats: int) -> Json:
    """A job on a dense network, for a number of rows: upload, first job and later jobs."""
    random = np.random.default_rng(rows)
    fields = {"x": random.normal(size=(rows, FEATURES)).astype(np.float32), "y": np.arange(rows) % 10}
    began = time.perf_counter()
    put_dataset(http, f"rows-{rows}", folder, **fields)
    upload = time.perf_counter() - began
    if "dense" not in {item["name"] for item in bench.get("/v1/models").json()["items"]}:
        net = nn.Sequential(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 10))
        put_model(http, "dense", net, torch.randn(2, FEATURES), folder)
    job = {**SIZED, "dataset": f"rows-{rows}"}
    first = bench.use_of(lambda: bench.run(job), 1)[1]
    used, seconds = bench.use_of(lambda: bench.run(job), repeats)
    size = {"rows": rows, "bytes": sum(field.nbytes for field in fields.values())}
    return {**size, "upload": upload, "first": first, "seconds": seconds, "commands": used.commands, "log": used.log}


def _loading(http: httpx.Client, bench: Bench, folder: Path) -> Json:
    """The first job on a large model, which loads it, and a later job."""
    net = nn.Sequential(nn.Linear(FEATURES, HEAVY_WIDTH), *(nn.Linear(HEAVY_WIDTH, HEAVY_WIDTH) for _ in range(HEAVY_DEPTH)))
    put_model(http, "heavy", net, torch.randn(2, FEATURES), folder)
    put_dataset(http, "heavy", folder, x=np.ones((4, FEATURES), dtype=np.float32))
    job = {**TINY, "model": "heavy", "dataset": "heavy"}
    cold, warm = bench.use_of(lambda: bench.run(job), 1)[1], bench.use_of(lambda: bench.run(job), 1)[1]
    return {"parameters": sum(each.numel() for each in net.parameters()), "cold": cold, "warm": warm}


def _inline(bench: Bench, repeats: int) -> Json:
    """The bytes that a dataset inside the request adds to the store, for each byte of numbers."""
    x = np.ones((INLINE_ROWS, 4), dtype=np.float32)
    used, _ = bench.use_of(lambda: bench.run({**TINY, "dataset": {"fields": {"x": x.tolist()}}}), repeats)
    return {"bytes": x.nbytes, "log": used.log, "traffic": used.traffic}


if __name__ == "__main__":
    main()
