"""Children that a test starts and gives jobs, without a worker and a store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from unitrank_schemas.base import Json
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.children.handle import ChildHandle
from unitrank_worker.engine import Arrays

START_SECONDS = 90.0
ROOT = Path(__file__).parents[3]
REQUEST: Json = {"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"]}


@dataclass(frozen=True)
class Result:
    """The summary and the arrays of a job."""

    summary: Json
    arrays: Arrays


@contextmanager
def child(scratch: Path, engine: str, confinement: str = "require") -> Iterator[ChildHandle]:
    """A child that is ready for jobs. `engine`: `module:name`."""
    handle = ChildHandle(ChildSettings(scratch=str(scratch), confinement=confinement), engine, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        # The child is started with -P, which reads PYTHONPATH but not the current folder.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        handle.start()
        handle.open()
    try:
        handle.await_ready(START_SECONDS)
        yield handle
    finally:
        handle.end()


def result_of(handle: ChildHandle, request: Json, *files: Path, **facts: Json) -> Result:
    """The result of a job on these files: the dataset and the model.

    `facts`: `resolved` and `manifest` of the order.
    """
    order = {
        "run": "job",
        "id": "j",
        "request": REQUEST | request,
        "resolved": {"clean": "c"},
        "manifest": None,
        "about": {"job": "j"},
        **facts,
    }
    handle.send(order, files=[file.open("rb") for file in files])
    result: Result | None = None
    while True:
        message = handle.receive(START_SECONDS)
        assert message is not None, "the child sends nothing"
        if "find_parts" in message.content:
            handle.send({"parts": []})
        if "result" in message.content:
            arrays = {name: np.asarray(array) for name, array in load(message.payload).items()}
            result = Result(message.content["result"], arrays)
        if "end" in message.content:
            assert result is not None, message.content
            return result
