"""An installation on a store of the test, and the requests that make it use the whole store."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from benchmarks.support.uploads import put_dataset, put_model
from torch import nn

from tests.e2e.conftest import ended
from tests.support.polling import wait_until
from tests.support.processes import command, short_folder
from tests.support.servers.webhook_receiver import webhook_receiver
from unitrank.addresses import claim_port
from unitrank.client.sync import Client
from unitrank.server.local import Local


@contextmanager
def installed_on(store_url: str, **settings: str) -> Iterator[Local]:
    """Run service, inspector and one worker on the store.

    After the block the processes end in order, as after SIGTERM.
    """
    port = claim_port("127.0.0.1", 0)
    with short_folder() as folder:
        words = command("up", "--port", str(port), "--state", str(folder / "state"))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                words, env=environment_of(store_url, **settings), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        try:
            running = Local(f"http://127.0.0.1:{port}", folder / "log", process)
            with Client(running.url) as client:
                running.await_ready(client)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def environment_of(store_url: str, **settings: str) -> dict[str, str]:
    """The environment of a command that uses the store."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"}
    return {**kept, "OMP_NUM_THREADS": "1", "UNITRANK_REDIS_URL": store_url, **settings}


def use_everything(store_url: str, folder: Path) -> str:
    """Upload, inspect, run, follow, cancel, notify, list and delete; return the log.

    The reaper sweeps meanwhile, and its first sweep collects garbage.
    """
    with webhook_receiver() as receiver:
        settings = {"UNITRANK_WEBHOOK_HOSTS": receiver.url.removeprefix("http://"), "UNITRANK_REAPER_INTERVAL": "0.2"}
        with installed_on(store_url, **settings) as running, httpx.Client(base_url=running.url, timeout=90) as http:
            put_dataset(http, "set", folder, x=np.ones((64, 4), dtype=np.float32))
            put_model(http, "net", nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4), folder)
            id = _post(http, webhook={"url": f"{receiver.url}/hook"})
            assert ended(http, f"/v1/jobs/{id}")["status"] == "succeeded"
            assert '"succeeded"' in http.get(f"/v1/jobs/{id}/events").text
            assert http.get(f"/v1/jobs/{id}/result").json()["rankings"]
            wait_until(lambda: receiver.posts, "the webhook is delivered")
            assert http.get(f"/v1/jobs/{id}/deliveries").is_success
            _cancel_a_job(http)
            for path in ("/v1/jobs?status=succeeded&model=net", "/v1/workers", "/metrics", "/readyz", "/v1/models", "/v1/datasets"):
                assert http.get(path).is_success, path
            for path in (f"/v1/jobs/{id}", "/v1/models/net", "/v1/datasets/set"):
                assert http.delete(path).status_code == 204, path
            return running.log.read_text()


def _cancel_a_job(http: httpx.Client) -> None:
    long = {"name": "conductance", "steps": 5000}
    id = _post(http, methods=[{**long, "id": str(number)} for number in range(16)], seed=1)
    wait_until(lambda: http.get(f"/v1/jobs/{id}").json()["status"] != "queued", "the job runs")
    queued = _post(http, seed=2)
    for each in (queued, id):
        assert http.post(f"/v1/jobs/{each}/cancel").status_code == 202
        wait_until(lambda path=f"/v1/jobs/{each}": http.get(path).json()["status"] == "cancelled", "the job is cancelled")


def _post(http: httpx.Client, **fields: Any) -> str:
    job = {"model": "net", "layer": "1", "dataset": "set", "methods": ["gradient"], "ablation": None, **fields}
    return str(http.post("/v1/jobs", json=job).raise_for_status().json()["id"])
