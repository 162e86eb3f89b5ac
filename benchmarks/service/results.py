"""Measure the service while clients read a large result: memory, and response time of /healthz.

`python -m benchmarks.service.results [--units 1000000] [--clusters 4] [--at-once 1]`: the benchmark
writes a result as a worker does, and curl fetches the result in each form, its plots, its report
and the job's page. Goals: /healthz answers within 100 ms, and the service takes at most 64 MiB more
than before. `top=1000000` is rejected.
"""

import argparse
import http.client
import io
import json
import subprocess
import threading
import time
import urllib.request
from typing import Any

import numpy as np
import psutil

from benchmarks.support.memory import PeakMemory
from benchmarks.support.running import running_without_workers
from unitrank.addresses import url_of
from unitrank_service.backend import Backend
from unitrank_store.settings import Settings
from unitrank_tables.sizes import MiB
from unitrank_tables.top_units import top_units

LOOK_SECONDS = 0.01
IDLE_SECONDS = 5.0
"""Seconds without a client: on a busy machine /healthz is slow even then."""
RANKINGS = ("gradient", "conductance")
IMAGES = 100
IMAGE = (3, 224, 224)
"""Shape of each image of the dataset, which the overlay draws."""
FORMS = [
    ("result", "application/json"),
    ("result?top=10000", "application/json"),
    ("result?top=1000000", "application/json"),
    ("result?cluster=0", "text/csv"),
    ("result", "text/csv"),
    ("result", "application/x-npz"),
    ("result", "application/vnd.safetensors"),
    ("plots/heatmap.png?overlay=true", "image/png"),
    *((f"plots/{name}.png", "image/png") for name in ("ablation", "importance", "heatmap", "leaderboard", "agreement")),
    ("plots/importance.svg", "image/svg+xml"),
    ("report", "text/html"),
]
"""Paths below a job, each with the media type to accept."""
PAGES = ("verdict", "curves", "units", "heatmaps", "warnings", "provenance", "downloads")
"""Tabs of the job's page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--clusters", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=1, help="number of clients that fetch at the same time")
    arguments = parser.parse_args()
    with running_without_workers() as (settings, service):
        _measure(settings, service, arguments.units, arguments.clusters, arguments.at_once)


def _measure(settings: Settings, service: psutil.Process, units: int, clusters: int, at_once: int) -> None:
    url = url_of(settings.host, settings.port)
    id = _succeeded(url, Backend.of(settings), units, clusters)
    paths = [(f"/v1/jobs/{id}/{path}", accept) for path, accept in FORMS]
    paths += [(f"/jobs/{id}?tab={tab}", "text/html") for tab in PAGES]
    with HealthWatch(settings.port) as health:
        time.sleep(IDLE_SECONDS)
    print(f"without a client: healthz at most {1000 * max(health.seconds):.0f} ms", flush=True)
    for path, accept in paths:
        with HealthWatch(settings.port) as health, PeakMemory(service) as memory:
            began = time.perf_counter()
            commands = [_fetch(f"{url}{path}", accept) for _ in range(at_once)]
            answers = [command.communicate()[0].split() for command in commands]
            seconds = time.perf_counter() - began
        status, size, first_byte = answers[0]
        print(
            f"{path.replace(id, 'ID').removeprefix('/v1/jobs/ID/'):20} {accept:27} {status} {int(size) / MiB:7.1f} MiB, "
            f"first byte {float(first_byte):6.2f} s, all {seconds:6.1f} s; "
            f"healthz at most {1000 * max(health.seconds):6.0f} ms "
            f"(p99 {1000 * float(np.quantile(health.seconds, 0.99)):.0f} ms); "
            f"memory {memory.before / MiB:.0f} MiB before, at most {(memory.most - memory.before) / MiB:.0f} MiB more; "
            f"drawing process {sum(child.memory_info().rss for child in service.children(recursive=True)) / MiB:.0f} MiB",
            flush=True,
        )


def _fetch(url: str, accept: str) -> "subprocess.Popen[str]":
    report = "%{http_code} %{size_download} %{time_starttransfer}"
    command = ["curl", "-sS", "-H", f"Accept: {accept}", "-o", "/dev/null", "-w", report, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _succeeded(url: str, backend: Backend, units: int, clusters: int) -> str:
    """Post a job, write its result as a worker does, and return the job's id."""
    model = _send("PUT", f"{url}/v1/models/net", b"archive", "application/octet-stream")
    with backend.blobs.writer() as sink:
        sink.write(b"clean archive")
    layer = {"name": "conv1", "kind": "Conv2d", "shape": [4], "units": 4, "cut": True, "channels": 4, "channel_axis": 0}
    tensors = {
        "inputs": [{"name": "x", "dtype": "float32", "shape": [None, *IMAGE]}],
        "outputs": [{"name": "output", "dtype": "float32", "shape": [None, 3]}],
    }
    backend.models.ready(model["digest"], tensors | {"parameters": 1, "layers": [layer], "differentiable": True}, sink.digest)
    data = io.BytesIO()
    np.savez(data, x=np.random.default_rng(0).random((IMAGES, *IMAGE), np.float32))
    dataset = _send("PUT", f"{url}/v1/datasets/data", data.getvalue(), "application/octet-stream")
    request = {"model": "net", "layer": "conv1", "dataset": "data", "methods": ["gradient"], "inputs": {"x": "x"}}
    id: str = _send("POST", f"{url}/v1/jobs", json.dumps(request).encode(), "application/json")["id"]
    summary, arrays = _result(id, units, clusters, dataset["digest"])
    attempt = backend.jobs.start(id, "cpu-0")
    assert attempt
    location = backend.results.put(summary, arrays)
    assert backend.jobs.finish(id, attempt, "succeeded", result=dict(location))
    return id


def _result(id: str, units: int, clusters: int, dataset: str) -> tuple[dict[str, Any], dict[str, Any]]:
    shape = [units // 100, 10, 10]
    random = np.random.default_rng(0)
    names = [str(number) for number in range(clusters)]
    arrays: dict[str, Any] = {"ablation/random": random.normal(size=(clusters, 99, 2)).astype(np.float32)}
    arrays |= {f"rows/{name}": np.arange(IMAGES) for name in names}
    rankings: list[dict[str, Any]] = []
    for id_of_ranking in RANKINGS:
        importance = random.normal(size=(clusters, units)).astype(np.float32)
        arrays |= {f"importance/{id_of_ranking}": importance, f"spread/{id_of_ranking}": abs(importance)}
        arrays[f"ablation/{id_of_ranking}/most"] = random.normal(size=(clusters, 2)).astype(np.float32)
        test = {"counts": [units // 100], "fractions": [0.01], "verdict": "undecided"}
        entries = {
            name: {"top": top_units(row, abs(row), shape, 20), "ablation": test}
            for name, row in zip(names, importance, strict=True)
        }
        rankings.append({"id": id_of_ranking, "method": {"name": id_of_ranking}, "clusters": entries, "seconds": 0.1})
    cluster = {"examples": 2, "ranked_on": 1, "tested_on": 1, "accuracy": 1.0, "score": 2.0}
    summary = {
        "job": id,
        "model": {"name": "net", "digest": "sha256:1"},
        "dataset": {"name": "data", "digest": dataset},
        "layer": {
            "name": "conv1",
            "at": "output",
            "cut": True,
            "units": "neuron",
            "shape": shape,
            "count": units,
            "channel_axis": 0,
        },
        "clusters": [{"name": name, **cluster} for name in names],
        "rankings": rankings,
        "leaderboard": [
            {"ranking": name, "verdict": "undecided", "better_than_random": 0, "of": clusters, "mean_area": 0.1}
            for name in RANKINGS
        ],
        "warnings": [],
        "cost": {"seconds": 1.0, "forward_rows": 1, "backward_rows": 1, "device": "cpu", "peak_bytes": 0},
        "provenance": {"seed": 0, "version": "0", "torch": "2", "options": {}},
    }
    return summary, arrays


def _send(method: str, url: str, body: bytes, kind: str) -> dict[str, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request) as answer:
        resource: dict[str, Any] = json.load(answer)
    return resource


class HealthWatch:
    """Requests /healthz repeatedly during the block. `seconds`: the time of each answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []

    def __enter__(self) -> "HealthWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        while not self.seconds or not self._over.wait(LOOK_SECONDS):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            self.seconds.append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
