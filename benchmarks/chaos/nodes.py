"""A Ray cluster of two machines with one CPU each, whose processes are killed and replaced."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
from tests.worker.distributed.on_ray.ray_cluster import RayCluster

MACHINES = 2
ENGINE = "tests.worker.distributed.small_ranges:SmallRanges"
"""The engine of all workers and nodes: with small ranges a small job is divided, too."""
ROOT = Path(__file__).parents[2]
REPLACE_SECONDS = 120.0


class Nodes:
    """The machines of the cluster. A thread replaces a machine, because that takes seconds."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster
        self._names = [f"machine-{number}" for number in range(MACHINES)]
        self._started = MACHINES
        self._pool = ThreadPoolExecutor(1, "nodes")
        self._replacing: Future[None] = self._pool.submit(self._start, self._names)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a worker that divides its jobs."""
        return {"UNITRANK_RAY": self._cluster.address, "PYTHONPATH": _path(), **self._cluster.settings}

    def kill(self, target: str, which: int) -> bool:
        """Kill a machine, an actor or a child of one; returns whether there was one.

        `target`: `machine`, `actor` or `replica`. `which`: a number that selects one.
        """
        if target == "machine":
            if not self._replacing.done():
                return False
            self._replacing = self._pool.submit(self._replace, which % MACHINES)
            return True
        with suppress(psutil.Error):
            processes = self._cluster.actors() if target == "actor" else self._cluster.children()
            if processes:
                os.kill(processes[which % len(processes)].pid, signal.SIGKILL)
                return True
        return False

    def complete(self) -> None:
        """Wait until all machines run."""
        self._replacing.result(REPLACE_SECONDS)

    def end(self) -> None:
        """End the cluster."""
        self._pool.shutdown()
        self._cluster.end()

    def _start(self, names: Sequence[str]) -> None:
        for name in names:
            self._cluster.add(name)

    def _replace(self, index: int) -> None:
        self._cluster.remove(self._names[index])
        self._names[index] = f"machine-{self._started}"
        self._started += 1
        self._start([self._names[index]])


@contextmanager
def ray_nodes(state: Path) -> Iterator[Nodes | None]:
    """The machines, until the block ends; None without Ray. `state`: folder with the blobs."""
    if find_spec("ray") is None:
        yield None
        return
    environment = {"UNITRANK_STATE": str(state), "OMP_NUM_THREADS": "1", "PYTHONPATH": _path()}
    nodes = Nodes(RayCluster(environment))
    try:
        nodes.complete()
        yield nodes
    finally:
        nodes.end()


def _path() -> str:
    """The folders of Python's modules, with the engine's."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
