"""A dataset in shards stays where it is: jobs read the rows that they need from its files."""

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from benchmarks.support.uploads import put_dataset, put_model
from torch import nn

from tests.e2e.conftest import ended
from tests.e2e.stores.conftest import installed_on
from tests.support.polling import wait_until
from tests.support.servers.remote_sources import Bucket, s3
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = [pytest.mark.check, pytest.mark.timeout(180)]

ROWS = 2000
FIELDS = {
    "x": np.random.default_rng(0).normal(size=(ROWS, 6)).astype(np.float32),
    "y": np.arange(ROWS) % 3,
    "kind": np.array([f"kind {row % 7}" for row in range(ROWS)]),
}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3() as bucket:
        yield bucket


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def http(server: EmbeddedServer, bucket: Bucket, folder: Path) -> Iterator[httpx.Client]:
    settings = {**bucket.environment, "UNITRANK_SOURCES": f"s3://sets/,file://{folder}"}
    with connect(server.url) as client:
        # Keys of earlier tests would refuse requests without a key.
        client.flushall()
    with installed_on(server.url, **settings) as running, httpx.Client(base_url=running.url, timeout=90) as http:
        put_model(http, "net", nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 6), folder)
        yield http


def written(folder: Path, shards: int = 8, **fields: np.ndarray) -> Path:
    """Write the fields as shards; returns the folder."""
    folder.mkdir(parents=True)
    bounds = np.linspace(0, len(next(iter(fields.values()))), shards + 1).astype(int)
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        np.savez(folder / f"part-{number:03}.npz", **{name: rows[start:stop] for name, rows in fields.items()})
    return folder


def imported(http: httpx.Client, name: str, uri: str) -> dict[str, Any]:
    """The dataset after its import has ended."""
    assert http.put(f"/v1/datasets/{name}", json={"uri": uri}).status_code == 202

    def read() -> dict[str, Any] | None:
        resource: dict[str, Any] = http.get(f"/v1/datasets/{name}").json()
        return None if resource["status"] == "importing" else resource

    return wait_until(read, f"{name} is imported")


def job(http: httpx.Client, dataset: str, **fields: Any) -> dict[str, Any]:
    """The job after it has ended."""
    request = {"model": "net", "layer": "1", "dataset": dataset, "methods": ["gradient"], "labels": "y", **fields}
    answer = http.post("/v1/jobs", json=request)
    assert answer.status_code in (200, 202), answer.text
    return ended(http, f"/v1/jobs/{answer.json()['id']}")


def importance(http: httpx.Client, id: str) -> dict[str, list[float]]:
    """The importance of the first units of each cluster.

    Random orders, and so the stability, depend on the digest of the dataset.
    """
    clusters = http.get(f"/v1/jobs/{id}/result").json()["rankings"][0]["clusters"]
    return {name: [unit["importance"] for unit in cluster["top"]] for name, cluster in clusters.items()}


def test_job_when_its_dataset_is_local_shards_then_ranks_as_on_the_joined_file(http: httpx.Client, folder: Path) -> None:
    written(folder / "local", **FIELDS)
    resource = imported(http, "local", f"file://{folder}/local/part-*.npz")
    put_dataset(http, "joined", folder, **FIELDS)
    ids = [job(http, name, ablation=None, clusters={"by": "label"})["id"] for name in ("local", "joined")]

    assert (resource["status"], resource["examples"]) == ("ready", ROWS)
    assert resource["fields"] == http.get("/v1/datasets/joined").json()["fields"]
    assert importance(http, ids[0]) == importance(http, ids[1])


def test_job_when_its_shards_are_compressed_then_they_are_copied_and_the_result_says_so(http: httpx.Client, folder: Path) -> None:
    (folder / "packed").mkdir()
    for number, start in enumerate(range(0, ROWS, 1000)):
        rows = {name: values[start : start + 1000] for name, values in FIELDS.items()}
        np.savez_compressed(folder / f"packed/part-{number}.npz", **rows)
    imported(http, "packed", f"file://{folder}/packed/*")
    id = job(http, "packed", ablation=None)["id"]
    codes = [warning["code"] for warning in http.get(f"/v1/jobs/{id}/result").json()["warnings"]]

    assert codes.count("dataset_copied") == 1


def test_job_when_its_shards_are_in_a_bucket_then_reads_few_bytes(http: httpx.Client, bucket: Bucket, folder: Path) -> None:
    for file in written(folder / "few", shards=200, **FIELDS).iterdir():
        bucket.put(f"few/{file.name}", file.read_bytes())
    imported(http, "few", "s3://sets/few/part-*.npz")
    bucket.reads.clear()
    members = {"some": list(range(0, ROWS, 5))}
    ended_job = job(http, "few", clusters={"by": "members", "members": members}, methods=["gradient", "conductance"])

    assert ended_job["status"] == "succeeded", ended_job["problem"]
    row_bytes = sum(rows.dtype.itemsize * int(np.prod(rows.shape[1:])) for name, rows in FIELDS.items() if name in "xy")
    assert 0 < bucket.bytes_read <= 1.1 * row_bytes * ROWS


@pytest.mark.parametrize("change", ["replaced", "deleted"])
@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_job_when_a_shard_changes_then_fails_with_its_name(
    http: httpx.Client, bucket: Bucket, folder: Path, place: str, change: str
) -> None:
    files = sorted(written(folder / f"{place}-{change}", shards=3, **FIELDS).iterdir())
    for file in files:
        bucket.put(f"{place}-{change}/{file.name}", file.read_bytes())
    root = f"file://{folder}" if place == "folder" else "s3://sets"
    imported(http, "changing", f"{root}/{place}-{change}/part-*.npz")
    assert job(http, "changing", ablation=None)["status"] == "succeeded"
    if change == "deleted":
        files[1].unlink()
        bucket.delete(f"{place}-{change}/{files[1].name}")
    else:
        files[1].write_bytes(files[0].read_bytes())
        bucket.put(f"{place}-{change}/{files[1].name}", files[0].read_bytes())
    ended_job = job(http, "changing", ablation=None, seed=1)

    assert (ended_job["status"], ended_job["problem"]["code"]) == ("failed", "dataset_changed")
    assert files[1].name in ended_job["problem"]["detail"]
    assert imported(http, "changing", f"{root}/{place}-{change}/part-*.npz")["status"] == "ready"
    assert job(http, "changing", ablation=None, seed=1)["status"] == "succeeded"


def test_job_when_its_dataset_is_parquet_then_ranks_as_on_the_joined_file(http: httpx.Client, bucket: Bucket, folder: Path) -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    import pyarrow.parquet

    for number, start in enumerate(range(0, ROWS, 1000)):
        columns = {name: list(values[start : start + 1000]) for name, values in FIELDS.items()}
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"rows-{number}.parquet", row_group_size=300)
        bucket.put(f"parquet/rows-{number}.parquet", (folder / f"rows-{number}.parquet").read_bytes())
    put_dataset(http, "joined-again", folder, **FIELDS)
    uris = {"one": f"file://{folder}/rows-0.parquet", "local": f"file://{folder}/rows-*.parquet", "s3": "s3://sets/parquet/*"}
    examples = {name: imported(http, f"parquet-{name}", uri)["examples"] for name, uri in uris.items()}
    ids = [
        job(http, name, ablation=None, clusters={"by": "field", "field": "kind"})["id"]
        for name in ("joined-again", "parquet-local", "parquet-s3")
    ]
    first, *others = [importance(http, id) for id in ids]

    assert examples == {"one": 1000, "local": ROWS, "s3": ROWS}
    assert others == [first, first]


def test_job_when_its_worker_cannot_read_a_shard_then_names_its_host(http: httpx.Client, folder: Path) -> None:
    written(folder / "linked", shards=2, **FIELDS)
    imported(http, "linked", f"file://{folder}/linked/*")
    (folder / "linked/part-001.npz").rename(folder.parent / "outside.npz")
    (folder / "linked/part-001.npz").symlink_to(folder.parent / "outside.npz")
    problem = job(http, "linked", ablation=None)["problem"]

    assert (problem["code"], problem["retryable"]) == ("dataset_unreadable", True)
    assert socket.gethostname() in problem["detail"]
    assert "part-001.npz" in problem["detail"]
