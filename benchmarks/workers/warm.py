"""Measure how many jobs find their model warm when two workers share jobs on two models.

Each worker keeps one model in its memory, and the jobs come in a random order. A job counts as warm
if it ran for less than half of the time of the first job on its model.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from torch import nn

from benchmarks.support.running import running
from benchmarks.support.uploads import put_dataset, put_model

SETTINGS = {"UNITRANK_WORKERS": "2", "UNITRANK_DEVICE": "cpu", "UNITRANK_WARM_MODELS": "1", "OMP_NUM_THREADS": "1"}
JOB: dict[str, Any] = {"layer": "1", "dataset": "x", "methods": ["activation"], "ablation": None, "fidelity": None}
WIDTH, DEPTH = 2048, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60, help="number of jobs")
    parser.add_argument("--models", type=int, default=2, help="number of models")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(SETTINGS) as url,
        httpx.Client(base_url=url, timeout=90, trust_env=False) as http,
    ):
        put_dataset(http, "x", Path(folder), x=np.ones((2, 64), dtype=np.float32))
        for number in range(options.models):
            torch.manual_seed(number)
            layers = [nn.Linear(64, WIDTH), nn.ReLU(), *(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))]
            put_model(http, f"m{number}", nn.Sequential(*layers), torch.randn(2, 64), Path(folder))
        order = random.Random(0)
        began = time.monotonic()
        models = [f"m{order.randrange(options.models)}" for _ in range(options.jobs)]
        posted = [_post(http, model, seed) for seed, model in enumerate(models)]
        seconds = [_seconds(http, address) for address in posted]
        took = time.monotonic() - began
    first = {model: seconds[models.index(model)] for model in models}
    warm = sum(each < first[model] / 2 for each, model in zip(seconds, models, strict=True))
    print(f"2 workers with room for 1 model each, {options.models} models, {options.jobs} jobs of one key in a random order")
    print(f"{warm / len(seconds):.0%} of the jobs found their model warm; {len(seconds) / took:.2f} jobs per second")


def _post(http: httpx.Client, model: str, seed: int) -> str:
    """The address of a new job."""
    return str(http.post("/v1/jobs", json={**JOB, "model": model, "seed": seed}).raise_for_status().headers["Location"])


def _seconds(http: httpx.Client, address: str) -> float:
    """The seconds that the job ran. Waits for its end."""
    while not (state := http.get(address, params={"wait": 60}).raise_for_status().json())["finished_at"]:
        continue
    if state["status"] != "succeeded":
        raise SystemExit(f"the job ended as {state['status']}, not as succeeded: {state['problem']}")
    started, finished = (np.datetime64(state[name].rstrip("Z")) for name in ("started_at", "finished_at"))
    return float((finished - started) / np.timedelta64(1, "s"))


if __name__ == "__main__":
    main()
