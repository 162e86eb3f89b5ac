"""Measure the list of jobs with many jobs: the API, the page, and the page's first paint.

`python -m benchmarks.service.job_list [--jobs 10000]`: the benchmark writes the records as services
and workers do. The first paint is measured in Chromium, if it is installed. Goal: the first paint
within 200 ms with 10 000 jobs.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from unitrank.addresses import claim_port
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer

ROUNDS = 20
"""Requests of each path."""
START_SECONDS = 60.0
VERDICTS = ("better_than_random", "no_better_than_random", "undecided")
PATHS = {
    "newest": "",
    "by area": "sort=area",
    "one layer of five": "layer=layer3",
    "words in all jobs": "text=run+gradient",
    "words in one job": "text=needle",
    "no such word": "text=nothing+like+this",
    "by area, robust": "sort=area&verdict=robust",
}
"""Name → query of a list."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    count = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="unitrank-list-") as folder, EmbeddedServer(Path(folder)) as server:
        with connect(server.url) as connection:
            began = time.perf_counter()
            write_jobs(JobStore(connection, tenant="default"), count)
            print(f"{count} jobs written in {time.perf_counter() - began:.0f} s")
        port = claim_port("127.0.0.1", 0)
        service = subprocess.Popen(
            [sys.executable, "-m", "unitrank_service", "--port", str(port), "--state", folder],
            env=os.environ | {"UNITRANK_REDIS_URL": server.url},
            stderr=subprocess.DEVNULL,
        )
        try:
            measure(f"http://127.0.0.1:{port}")
        finally:
            service.terminate()
            service.wait(60)


def write_jobs(jobs: JobStore, count: int) -> None:
    """Write jobs that have succeeded; every tenth one waits."""
    draw = np.random.default_rng(0)
    for number in range(count):
        request = {
            "model": f"model{number % 7}",
            "layer": f"layer{number % 5}",
            "dataset": f"data{number % 3}",
            "methods": [{"name": "gradient", "statistic": "mean"}, {"name": "conductance", "steps": 20}],
            "metadata": {"name": f"Run {number}", "tags": ["paper"] if number % 50 == 0 else [], "notes": "needle" * (number == 5)},
        }
        id = jobs.create(request, {"model": {"name": request["model"]}}, submitted_by="benchmark").id
        if number % 10:
            area = float(draw.uniform())
            summary = {"best": "gradient", "verdict": VERDICTS[number % 3], "robust": number % 6 == 0, "area": area, "clusters": 10}
            jobs.finish(id, jobs.start(id, "worker") or 0, "succeeded", summary=summary)


def measure(url: str) -> None:
    """Print the time of each list, from the request to the last byte."""
    with httpx.Client(base_url=url, timeout=90) as client:
        deadline = time.monotonic() + START_SECONDS
        while not _is_alive(client):
            if time.monotonic() > deadline:
                raise SystemExit("the service did not start")
            time.sleep(0.1)
        for name, query in PATHS.items():
            milliseconds = {path: _median(client, f"{path}?{query}") for path in ("/v1/jobs", "/")}
            print(f"{name:20} API {milliseconds['/v1/jobs']:6.1f} ms, page {milliseconds['/']:6.1f} ms")
    if program := shutil.which("chromium"):
        for name in ("newest", "by area", "no such word"):
            print(f"{name:20} first paint {first_paint(program, f'{url}/?{PATHS[name]}'):6.0f} ms after the request (goal: 200 ms)")


def first_paint(program: str, address: str) -> float:
    """Return the median of the first contentful paint in a new tab, in milliseconds."""
    from playwright.sync_api import sync_playwright

    script = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"])
        times = []
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for _ in range(ROUNDS // 2):
            page.goto(address)
            # `wait_for_function` would evaluate texts, which the page's policy forbids.
            while (paint := page.evaluate(script)) is None:
                page.wait_for_timeout(10)
            times.append(float(paint))
        browser.close()
    return float(np.median(times))


def _is_alive(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


def _median(client: httpx.Client, path: str) -> float:
    """Return the median of the milliseconds of one request."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times))


if __name__ == "__main__":
    main()
