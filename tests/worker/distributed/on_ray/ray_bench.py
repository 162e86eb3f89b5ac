"""A store, a Ray cluster and workers whose jobs are divided between the nodes of the cluster."""

import importlib.util
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.polling import wait_until
from tests.worker.distributed.conftest import ENGINE, ROOT
from tests.worker.distributed.on_ray.ray_cluster import RayCluster
from tests.worker.process.conftest import Bench, Running
from unitrank_schemas.base import Json
from unitrank_store.redis.connection import connect
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_worker.engine import Arrays

IS_MISSING = importlib.util.find_spec("ray") is None and not os.environ.get("CI")
NEEDS_RAY = [pytest.mark.skip(reason="Ray is not installed: pip install 'unitrank[ray-test]'")] if IS_MISSING else []
LAST_CLUSTER = Path("/tmp/ray/ray_current_cluster")
"""The file that tells Ray's programs the address of the cluster that this machine started last."""
LONG = 1e15
"""Operations of a job that `execution: auto` divides."""
PASSES: list[Json] = [{"ranges": 5, "rows": 4}, {"ranges": 9, "rows": 3, "stage": "ablation"}]


class RayBench:
    """A store, a cluster of two nodes and a worker."""

    def __init__(self, url: str, folder: Path, stack: ExitStack, nodes_state: Path | None = None, **settings: str) -> None:
        """`nodes_state`: folder of the blobs that the nodes read; by default the worker's.

        `settings`: of the nodes and the worker.
        """
        self.connection = stack.enter_context(connect(url))
        self.connection.flushall()
        self.bench = Bench(url, self.connection, folder)
        stack.callback(self.bench.close)
        self.nodes_state = nodes_state or folder
        self.path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.settings = settings
        nodes = {"UNITRANK_STATE": str(self.nodes_state), "UNITRANK_CONFINEMENT": "off", "PYTHONPATH": self.path}
        self.cluster = RayCluster(nodes | settings)
        stack.callback(self.cluster.end)
        for name in ("a", "b"):
            self.cluster.add(name)

    @property
    def address(self) -> str:
        """The address of this machine in Ray."""
        return self.cluster.address.rpartition(":")[0]

    def start(self, name: str = "w", engine: str = ENGINE, **settings: str) -> Running:
        """A worker that divides its jobs."""
        settings = {"UNITRANK_RAY": self.cluster.address, **self.cluster.settings, **self.settings, **settings}
        return self.bench.start(name, engine=engine, **settings)

    def submit(self, passes: list[Json], execution: str = "distributed", **fields: object) -> str:
        """The id of a new job."""
        return self.bench.submit(metadata={"passes": passes}, execution=execution, **fields)

    def arrays(self, id: str) -> Arrays:
        """The arrays of the job's result."""
        return arrays_of(self.bench, id)

    def in_range(self, id: str, marks: Path) -> None:
        """Wait until a replica computes the range that writes into the file."""
        wait_until(lambda: marks.exists() or self.bench.jobs.get(id).ended, f"{id} computes the range")


def arrays_of(bench: Bench, id: str) -> Arrays:
    """The arrays of the job's result."""
    bench.summary(id)
    results = ResultStore(bench.connection, bench.blobs, Settings(state=bench.state))
    return results.arrays(bench.jobs.get(id).result)  # type: ignore[arg-type]


def equal(actual: Arrays, expected: Arrays) -> bool:
    """Whether the arrays are equal to the bit."""
    return actual.keys() == expected.keys() and all(actual[name].tobytes() == expected[name].tobytes() for name in expected)


def held(folder: Path, index: int) -> Json:
    """Faults of a pass: replicas note this range, and later ranges wait for the file `go`."""
    mark = {"range": index, "file": str(folder / "marks")}
    return {"mark": mark, "wait": {"range": index, "file": str(folder / "go")}}
