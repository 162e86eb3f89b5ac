"""A Ray cluster of some nodes on this machine, in processes of their own."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.polling import wait_until
from tests.worker.process.conftest import gone

PROGRAM = """
import json, sys
from ray.cluster_utils import Cluster
options = {"object_store_memory": 80 << 20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
nodes = {}
def send(value): print("answer", json.dumps(value), flush=True)
send(cluster.address)
for line in sys.stdin:
    verb, name, gpus = line.split()
    if verb == "add":
        nodes[name] = cluster.add_node(num_cpus=1, num_gpus=int(gpus), object_store_memory=80 << 20)
        send(nodes[name].node_id)
    elif verb == "remove":
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
        send(name)
"""
"""A process of its own: Ray's processes die with the thread that started them."""


@dataclass
class RayCluster:
    """A cluster. Its nodes have one CPU each, and the head has none."""

    environment: dict[str, str]

    def __post_init__(self) -> None:
        self.token = secrets.token_hex(32)
        # Sockets in a deeper folder would have names that are too long. Ray's own folder would tell
        # other programs of this machine the address of this cluster.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_USAGE_STATS_ENABLED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, **self.environment, **self.settings, "RAY_TMPDIR": str(self.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.address = str(self._answer())

    def add(self, name: str, gpus: int = 0) -> str:
        """Start a node, and return Ray's id of it. `gpus`: GPUs that Ray believes the node has."""
        return str(self._do("add", name, gpus))

    def remove(self, name: str) -> None:
        """Kill a node's processes."""
        self._do("remove", name)

    def kill_head(self) -> None:
        """Kill the process of the head that all nodes need."""
        (head,) = (each for each in self._processes() if "gcs_server" in " ".join(each.cmdline()))
        head.kill()

    def actors(self) -> list[psutil.Process]:
        """The processes of Unitrank's actors."""
        return [each for each in self._processes() if "RayNode" in " ".join(each.cmdline())]

    def children(self) -> list[psutil.Process]:
        """The processes that compute."""
        return [child for actor in self.actors() for child in actor.children()]

    def end(self) -> None:
        """Kill all processes of the cluster."""
        processes = [*self._processes(), psutil.Process(self.process.pid)]
        for each in processes:
            if not gone(each.pid):
                os.kill(each.pid, signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait()
        wait_until(lambda: all(gone(each.pid) for each in processes), "the cluster has ended")
        shutil.rmtree(self.folder)

    def _processes(self) -> list[psutil.Process]:
        return [each for each in psutil.Process(self.process.pid).children(recursive=True) if not gone(each.pid)]

    def _do(self, verb: str, name: str, gpus: int = 0) -> object:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{verb} {name} {gpus}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> object:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise AssertionError("the cluster has ended")
