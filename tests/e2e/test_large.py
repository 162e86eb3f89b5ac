"""Datasets that are larger than a worker's memory limit.

Uploads are streamed, and tables are mapped or unpacked to the disk.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import torch
from torch import nn

from tests.e2e.conftest import save
from unitrank.client.sync import Client
from unitrank.server.local import Local
from unitrank_tables.sizes import GiB, MiB

pytestmark = pytest.mark.check

SHAPE = (3, 128, 128)
ROW_BYTES = 3 * 128 * 128
BYTES = {"Content-Type": "application/octet-stream"}


def written_table(path: Path, size: int, packed: bool) -> Path:
    """Write an npz with `size` bytes of images and their labels, in pieces; returns `path`.

    `packed`: compress it. All images differ.
    """
    rows = size // ROW_BYTES
    few = np.random.default_rng(0).integers(0, 16, (512, *SHAPE), dtype=np.uint8)
    pack = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", pack, compresslevel=1) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (rows, *SHAPE)})
            for start in range(0, rows, len(few)):
                member.write((few[: rows - start] + np.uint8(start // len(few))).tobytes())
        with archive.open("y.npy", "w") as member:
            np.lib.format.write_array(member, np.arange(rows) % 4)
    return path


def memory(process: psutil.Process, field: str) -> int:
    """Memory of the process in bytes.

    `field`: `VmHWM`, the largest until now, or `VmRSS`, the current.
    """
    (line,) = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def find(stack: Local, *words: str) -> Iterator[psutil.Process]:
    """The processes whose command line has these words."""
    for process in psutil.Process(stack.process.pid).children(recursive=True):
        line = process.cmdline()
        if all(word in line for word in words):
            yield process


def test_upload_when_it_is_large_then_the_service_does_not_grow(stack: Local, http: httpx.Client, tmp_path: Path) -> None:
    (service,) = find(stack, "unitrank_service")
    with written_table(tmp_path / "x.npz", 300 * MiB, packed=False).open("rb") as body:
        assert http.put("/v1/datasets/once", content=iter([b"PK"]), headers=BYTES).status_code == 422
        before = memory(service, "VmHWM")
        assert http.put("/v1/datasets/large", content=body, headers=BYTES).status_code == 201

    assert memory(service, "VmHWM") - before < 40 * MiB
    assert http.delete("/v1/datasets/large").status_code == 204


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("packed", [False, True])
def test_dataset_when_it_is_larger_than_memory_allows_then_is_attributed(
    stack: Local, client: Client, http: httpx.Client, tmp_path: Path, packed: bool
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 4))
    http.put("/v1/models/large", content=save(net, tmp_path / "net.pt2", torch.rand(2, *SHAPE)).read_bytes(), headers=BYTES)
    client.models.wait("large")
    with written_table(tmp_path / "x.npz", 3 * GiB, packed).open("rb") as body:
        assert http.put("/v1/datasets/large", content=body, headers=BYTES, timeout=600).status_code == 201
    request = {"model": "large", "layer": "1", "dataset": "large", "methods": [{"name": "conductance", "steps": 2}]}
    posted = http.post("/v1/jobs", json=request | {"inputs": {"input": "x"}, "clusters": {"by": "label"}})

    while (job := http.get(f"{posted.headers['location']}?wait=60").json())["status"] in ("queued", "running"):
        pass
    assert job["status"] == "succeeded", job["problem"]
    assert sum(cluster["examples"] for cluster in http.get(job["links"]["result"]).json()["clusters"]) == 3 * GiB // ROW_BYTES
    children = [child for worker in find(stack, "unitrank_worker") for child in [worker, *worker.children()]]
    assert children
    assert max(memory(child, "VmHWM") for child in children) < 1.5 * GiB
    assert http.delete("/v1/datasets/large").status_code == 204
