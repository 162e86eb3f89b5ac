"""A job that is divided between nodes in this process: real children and channels, without Ray."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from tests.worker.distributed.local_nodes import LocalNodes
from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.settings import Settings
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.children.handle import ChildHandle
from unitrank_worker.distributed.driver import Cluster, Driver
from unitrank_worker.distributed.questions import is_question
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.engine import Arrays
from unitrank_worker.process.channel import Channel, Closed, Message

ENGINE = "tests.worker.distributed.summing_engine:Summing"
ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
PAYLOAD_BYTES = 1 << 28
REQUEST: Json = {"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"]}


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """Children and actors import this folder's engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        yield


class Bed:
    """An owner's child, a driver in a thread, and the worker's part between them: this test.

    `problem`: the problem of the last job that failed. `progress`: all progress of the owner.
    """

    def __init__(self, folder: Path, nodes: int = 2, engine: str = ENGINE, contents: Sequence[bytes] = (b"table",)) -> None:
        """`engine`: `module:name`. `contents`: the dataset, and the model if there is one."""
        self.settings = Settings(state=folder / "state", confinement="off")
        blobs = BlobStore.of(self.settings)
        self.digests: list[str] = []
        for content in contents:
            with blobs.writer() as writer:
                writer.write(content)
            self.digests.append(writer.digest)
        self._paths = [blobs.path(digest) for digest in self.digests]
        self.owner = ChildHandle(ChildSettings(scratch=str(folder / "owner"), confinement="off"), engine, "cpu")
        self.owner.start()
        self.owner.open()
        self.nodes = LocalNodes(engine, [self.settings] * nodes)
        self.problem: Json | None = None
        self.status = ""
        self.progress: list[Json] = []
        self.asked: list[list[str]] = []
        self.parts: dict[str, bytes] = {}
        self._jobs = 0
        self._serve(self.nodes)
        self.owner.await_ready(PATIENCE)

    def _serve(self, cluster: Cluster) -> None:
        here, there = socket.socketpair()
        self.driver = Channel(here, payload_bytes=PAYLOAD_BYTES)
        driver = Driver(Channel(there, payload_bytes=PAYLOAD_BYTES), cluster)

        def serve() -> None:
            try:
                driver.serve()
            except Closed:
                there.close()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()

    def content(self, passes: Sequence[Json], facts: Json) -> Json:
        self._jobs += 1
        request = REQUEST | {"metadata": {"passes": list(passes)}}
        order = {"run": "job", "id": f"j{self._jobs}", "request": request, "resolved": {"clean": "c"}, "manifest": None}
        return order | {"about": {"job": f"j{self._jobs}"}} | facts

    def local(self, passes: Sequence[Json] = (), **facts: Json) -> Arrays:
        """The arrays of the job, computed in the owner's child alone. `facts`: of the order."""
        self.owner.send(self.content(passes, facts), files=[path.open("rb") for path in self._paths])
        return self._result({})

    def begin(self, passes: Sequence[Json] = (), **facts: Json) -> JobHead:
        """Begin a job that is divided."""
        content = self.content(passes, facts)
        job = JobHead(content["id"], "tenant", content, self.digests[:1], *self.digests[1:])
        self.driver.send({"begin": job.to_json()})
        begun = self.driver.receive(PATIENCE)
        assert begun is not None
        assert "begun" in begun.content, begun.content
        assert begun.content["key"] == job.key
        self.owner.send(content | {"role": "owner"}, files=[path.open("rb") for path in self._paths])
        return job

    def divided(self, passes: Sequence[Json] = (), **facts: Json) -> Arrays:
        """The arrays of the job, computed by the nodes."""
        job = self.begin(passes, **facts)
        arrays = self._result({}, job)
        self.driver.send({"over": job.key})
        return arrays

    def _result(self, arrays: Arrays, job: JobHead | None = None) -> Arrays:
        self.problem = None
        while True:
            message = self.relay(job)
            if message is None:
                continue
            if "result" in message.content:
                self.summary, self.last = message.content["result"], message.content["progress"]
                arrays = {name: np.asarray(array) for name, array in load(message.payload).items()}
            if "progress" in message.content and "result" not in message.content:
                self.progress.append(message.content["progress"])
            if "end" in message.content:
                self.status, self.problem = message.content["end"], message.content["problem"]
                return arrays

    def relay(self, job: JobHead | None) -> Message | None:
        """Do what the worker does: pass a message on, or return the owner's."""
        if job is not None and (answer := self.driver.receive(0)) is not None:
            self.owner.send(answer.content, answer.payload)
        message = self.owner.receive(0.01)
        if message is None or not is_question(message.content):
            return message
        if "pass" in message.content:
            self.driver.send({"ask": message.content})
        else:
            self.asked.append(message.content["find_parts"])
            sizes = [[name, len(self.parts[name])] for name in message.content["find_parts"] if name in self.parts]
            payload = b"".join(self.parts[name] for name, _ in sizes)
            self.owner.send({"parts": sizes}, payload)
            if job is not None:
                self.driver.send({"note": message.content, "answer": {"parts": sizes}}, payload)
        return None

    def end(self) -> None:
        self.driver.close()
        self._thread.join(10)
        self.owner.end()
        self.nodes.end()


@pytest.fixture(scope="module")
def bed(importable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Two nodes for all tests of a module."""
    with ExitStack() as stack:
        bed = Bed(tmp_path_factory.mktemp("bed"))
        stack.callback(bed.end)
        yield bed
