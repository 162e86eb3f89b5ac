"""Jobs of the real engine on a Ray cluster, cancelled in each stage or with a changed shard."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.support.polling import wait_until
from tests.worker.distributed.on_ray.ray_bench import NEEDS_RAY, RayBench, equal
from tests.worker.process.conftest import cancel, gone
from unitrank_engine.models import inspection
from unitrank_schemas.base import Json
from unitrank_store.blobs.pinned_files import pinned
from unitrank_store.blobs.sources import Sources
from unitrank_store.contents.models import ModelStore
from unitrank_store.redis import keyspace
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_tables.sharded.headers import ShardFile, index_of, read_shard_header

pytestmark = [pytest.mark.slow, *NEEDS_RAY]

ENGINE = "tests.worker.distributed.held_engine:Held"
STAGES = ["clusters", "baseline", "fill", "attribution", "fidelity", "ablation", "sanity", "end"]
SECONDS = 5.0
"""A cancelled job ends on all machines within this time."""
JOB: Json = {
    "layer": "1",
    "methods": ["deeplift", "gradient"],
    "baseline": {"kind": "mean"},
    "clusters": {"by": "kmeans", "k": 2, "layer": "4"},
    "target": {"class": 0},
    "ablation": {"random": 19, "fill": "mean", "sanity": "permute_tail"},
    "fidelity": {"fraction": 0.1},
}


@pytest.fixture(scope="module")
def ray(importable: None, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayBench]:
    """A cluster and a worker with the engine that waits in a stage."""
    with ExitStack() as stack:
        shards = tmp_path_factory.mktemp("shards")
        bench = RayBench(server.url, tmp_path_factory.mktemp("state"), stack, UNITRANK_SOURCES=f"file://{shards}")
        bench.bench.resolved = _contents(bench, tmp_path_factory.mktemp("net"))
        bench.start(engine=ENGINE, UNITRANK_PARTS_BYTES="0")
        yield bench


def _contents(ray: RayBench, folder: Path) -> Json:
    """The model and the dataset as a job's record names them."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.Linear(8, 3)
    )
    unitrank.export(network.eval(), torch.zeros(2, 3, 8, 8), folder / "net.pt2")
    manifest = inspection.inspect(folder / "net.pt2", folder / "clean.pt2")
    np.savez(folder / "data.npz", x=np.random.default_rng(0).normal(size=(300, 3, 8, 8)).astype(np.float32))
    archive, clean, table = (ray.bench._blob((folder / name).read_bytes()) for name in ("net.pt2", "clean.pt2", "data.npz"))
    models = ModelStore(ray.connection, ray.bench.blobs)
    models.begin("net", archive, 7, "1")
    models.ready(archive, manifest, clean)
    return {"model": {"name": "net", "digest": archive}, "dataset": {"name": "d", "digest": table}}


def submit(ray: RayBench, execution: str = "distributed", **hold: str) -> str:
    return ray.bench.submit(**JOB, metadata={"hold": hold} if hold else {}, execution=execution)


def pids(folder: Path, name: str) -> Counter[int]:
    path = folder / name
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


@pytest.mark.parametrize("stage", STAGES)
def test_job_when_cancelled_in_a_stage_then_ends_on_all_nodes_and_leaves_nothing(ray: RayBench, tmp_path: Path, stage: str) -> None:
    id = submit(ray, stage=stage, folder=str(tmp_path))
    wait_until(lambda: pids(tmp_path, "held") or ray.bench.jobs.get(id).ended, f"{id} waits in {stage}")
    assert ray.bench.status(id) == "running", ray.bench.jobs.get(id).problem
    cancel(ray.bench, id)

    def left() -> bool:
        waiting = pids(tmp_path, "held") - pids(tmp_path, "left")
        return ray.bench.jobs.get(id).ended and all(gone(pid) for pid in waiting)

    wait_until(left, "no process works for the job", seconds=SECONDS)
    assert ray.bench.status(id) == "cancelled"
    ray.bench.idle()
    for key in (keyspace.reservations(), keyspace.live_records("job")):
        assert not ray.connection.exists(key)
    assert not list(ray.connection.scan_iter(keyspace.pins("*")))
    assert not list((ray.bench.state / "blobs").rglob("incoming-*"))


def test_job_when_others_were_cancelled_in_all_stages_then_equals_the_local_one_to_the_bit(ray: RayBench) -> None:
    expected = ray.arrays(submit(ray, "local"))
    actual = ray.arrays(submit(ray))

    assert equal(actual, expected)


def test_job_when_a_shard_is_replaced_while_it_runs_then_fails_as_dataset_changed(ray: RayBench, tmp_path: Path) -> None:
    folder = Path(ray.settings["UNITRANK_SOURCES"].removeprefix("file://"))
    resolved = ray.bench.resolved
    ray.bench.resolved = {**resolved, "dataset": {"name": "shards", "digest": _shards(ray, folder)}}
    try:
        right = submit(ray)
        changed = submit(ray, stage="ablation", folder=str(tmp_path))
    finally:
        ray.bench.resolved = resolved
    wait_until(lambda: pids(tmp_path, "held") or ray.bench.jobs.get(changed).ended, "the job runs")
    for file in folder.iterdir():
        _write_shard(file, seed=1)
    (tmp_path / "go").touch()

    problem = ray.bench.ended(changed).problem
    assert problem is not None
    assert problem["code"] == "dataset_changed"
    assert ray.bench.summary(right)["cost"]["nodes"] == 1


def _shards(ray: RayBench, folder: Path) -> str:
    """The digest of the index of three shards that stay in the folder."""
    headers = []
    sources = Sources([ray.settings["UNITRANK_SOURCES"]])
    for number in range(3):
        _write_shard(folder / f"part-{number}.npz", seed=0)
        file = pinned(sources.file(f"file://{folder}/part-{number}.npz"))
        state = file.state()
        read = lambda start, stop, file=file, state=state: file.read(start, stop, state)  # noqa: E731
        headers.append(read_shard_header(ShardFile(f"file://{folder}/part-{number}.npz", state.size, state.pin, read)))
    index = index_of(headers)
    assert index is not None
    return ray.bench._blob(index.to_bytes())


def _write_shard(file: Path, *, seed: int) -> None:
    np.savez(file, x=np.random.default_rng(seed).normal(size=(100, 3, 8, 8)).astype(np.float32))
