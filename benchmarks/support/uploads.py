"""Uploads of models and datasets over HTTP, for the benchmarks that do not use the client."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import torch
from torch import nn

from unitrank.exporting import export

BYTES = {"Content-Type": "application/octet-stream"}
READY_SECONDS = 120.0
"""Seconds to wait until the service or a model is ready."""


def await_ready(http: httpx.Client) -> None:
    """Wait until the service can run jobs. Raises SystemExit after `READY_SECONDS`."""
    _until(http, "/readyz", lambda answer: answer.is_success)


def put_model(http: httpx.Client, name: str, network: nn.Module, example: torch.Tensor, folder: Path) -> None:
    """Upload the network and wait until its status is `ready`."""
    export(network, example, folder / f"{name}.pt2")
    http.put(f"/v1/models/{name}", content=(folder / f"{name}.pt2").read_bytes(), headers=BYTES).raise_for_status()
    _until(http, f"/v1/models/{name}", lambda answer: answer.is_success and answer.json()["status"] == "ready")


def put_dataset(http: httpx.Client, name: str, folder: Path, **fields: np.ndarray) -> None:
    """Upload the fields as a dataset."""
    np.savez(folder / f"{name}.npz", **fields)
    http.put(f"/v1/datasets/{name}", content=(folder / f"{name}.npz").read_bytes(), headers=BYTES).raise_for_status()


def _until(http: httpx.Client, path: str, is_ready: Callable[[httpx.Response], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if is_ready(http.get(path)):
                return
        time.sleep(0.1)
    raise SystemExit(f"{http.base_url}{path}: not ready within {READY_SECONDS:.0f} s")
