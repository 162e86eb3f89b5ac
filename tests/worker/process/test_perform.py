"""The child's side of a job and of an inspection, with the test at the other end of the channel."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_tables.part import Part, encode_part
from unitrank_worker.engine import Arrays, Assignment, Report, Upload, WarmModel
from unitrank_worker.process.channel import MOST_FILES, Channel, Closed, Message
from unitrank_worker.process.child import serve

ORDER: Json = {
    "run": "job",
    "id": "j",
    "request": {"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"]},
    "resolved": {"clean": "c"},
    "manifest": None,
    "about": {"job": "j"},
}
INSPECTION: Json = {"run": "inspection", "id": "i", "architecture": None, "about": {}}


class Stepping:
    """Uses the channel as a job does: a span, parts, progress, arrays of several dtypes."""

    def __init__(self) -> None:
        self.read = b""

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        self.read = assignment.table.read_bytes() + (assignment.archive.read_bytes() if assignment.archive else b"")
        with assignment.span("load"):
            parts = assignment.parts.get(["a", "b"])
        assignment.parts.put({"c": Part(metadata={"n": 3})})
        for done in range(3):
            report({"done": done + 1, "total": 3, "unit": "rows", "stage": "attribution", "eta": None})
        return {"parts": sorted(parts)}, {"x": np.ones((1, 2), np.float64), "n": np.arange(2, dtype=np.int32)}

    def inspect(self, upload: Upload, target: Path) -> Json:
        if upload.source.read_bytes() == b"bad":
            target.write_bytes(b"half of it")
            raise EngineError("bad_archive", "it is bad")
        target.write_bytes(b"clean" * 500_000)
        return {"layers": []}

    def device_memory(self) -> int:
        return 0

    def warm(self) -> list[WarmModel]:
        return [WarmModel("sha256:1", "mnist")]


class Endless(Stepping):
    """Reports progress until it gets a stop."""

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        while True:
            report({"done": 1, "total": 2, "unit": "rows", "stage": "attribution", "eta": None})
            time.sleep(0.001)


class Recording(Stepping):
    """Records whether the job may ask for parts."""

    has_parts = False

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        self.has_parts = assignment.parts is not None
        return {}, {}


class Broken(Stepping):
    """Fails as a broken device does."""

    def run(self, assignment: Assignment, report: Report) -> tuple[Json, Arrays]:
        raise RuntimeError("CUDA error: device-side assert triggered")


@contextmanager
def served(engine: Stepping, scratch: Path) -> Iterator[Channel]:
    """The parent's end of the channel to an engine that runs in a thread."""
    ours, theirs = socket.socketpair()
    parent, child = (
        Channel(ours, payload_bytes=1 << 26, send_seconds=5.0),
        Channel(theirs, payload_bytes=1 << 26, most_files=MOST_FILES),
    )
    thread = threading.Thread(target=_serve, args=(child, engine, scratch))
    thread.start()
    try:
        assert received(parent).content == {"ready": True, "warm": [{"digest": "sha256:1", "name": "mnist"}]}
        yield parent
    finally:
        parent.close()
        thread.join(10)
        assert not thread.is_alive()


def _serve(channel: Channel, engine: Stepping, scratch: Path) -> None:
    try:
        serve(channel, engine, scratch)
    except Closed:
        pass
    finally:
        channel.close()


def received(channel: Channel) -> Message:
    message = channel.receive(10.0)
    assert message is not None
    return message


def order(channel: Channel, content: Json, *files: Path) -> None:
    opened = [file.open("rb") for file in files]
    channel.send(content, files=[file.fileno() for file in opened])
    for file in opened:
        file.close()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "table").write_bytes(b"table")
    return tmp_path / "table"


def test_job_when_ordered_then_the_engine_reads_the_files_and_its_result_comes_back(table: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b" and archive")
    engine = Stepping()
    with served(engine, tmp_path) as parent:
        order(parent, ORDER, table, tmp_path / "archive")
        assert received(parent).content == {"find_parts": ["a", "b"]}
        part = encode_part(Part({"x": np.ones(1)}))
        parent.send({"parts": [["b", len(part)]]}, part)
        span, kept, result, end = (received(parent) for _ in range(4))

    assert engine.read == b"table and archive"
    assert (span.content["span"], span.content["until"] >= span.content["since"]) == ("load", True)
    assert (kept.content, kept.payload) == ({"keep_part": "c"}, encode_part(Part(metadata={"n": 3})))
    assert result.content["result"] == {"parts": ["b"]}
    assert result.content["progress"]["done"] == 3
    arrays = load(result.payload)
    assert {name: array.dtype for name, array in arrays.items()} == {"x": np.float32, "n": np.int64}
    assert end.content == {
        "end": "succeeded",
        "problem": None,
        "warm": [{"digest": "sha256:1", "name": "mnist"}],
        "leaving": False,
    }


def test_job_when_it_uses_no_earlier_part_and_is_not_traced_then_asks_and_sends_less(table: Path, tmp_path: Path) -> None:
    with served(Stepping(), tmp_path) as parent:
        order(parent, ORDER | {"resolved": {"clean": "c", "fresh": True}, "spans": False}, table)
        messages = [received(parent).content for _ in range(3)]

    assert messages[0] == {"keep_part": "c"}
    assert messages[1]["result"] == {"parts": []}
    assert messages[2]["end"] == "succeeded"


@pytest.mark.parametrize(
    ("changes", "flops", "has_parts"),
    [
        ({}, 1000, False),
        ({}, 1e6, True),
        # The service could not count the operations.
        ({}, 0, True),
        ({"ablation": {}}, 1000, True),
        ({"fidelity": {}}, 1000, True),
        ({"clusters": {"by": "prediction"}}, 1000, True),
    ],
)
def test_job_when_it_has_one_short_pass_then_uses_no_parts(
    table: Path, tmp_path: Path, changes: Json, flops: float, has_parts: bool
) -> None:
    engine = Recording()
    request = ORDER["request"] | {"ablation": None, "fidelity": None} | changes
    with served(engine, tmp_path) as parent:
        order(parent, ORDER | {"request": request, "resolved": {"clean": "c", "flops": flops}}, table)
        while "end" not in (message := received(parent)).content:
            pass

    assert (message.content["end"], engine.has_parts) == ("succeeded", has_parts)


def test_owner_when_its_job_uses_no_earlier_part_then_asks_for_its_replicas(table: Path, tmp_path: Path) -> None:
    with served(Stepping(), tmp_path) as parent:
        order(parent, ORDER | {"resolved": {"clean": "c", "fresh": True}, "role": "owner"}, table)

        assert received(parent).content == {"find_parts": ["a", "b"]}
        parent.send({"parts": []})
        while "end" not in received(parent).content:
            pass


def test_job_when_it_gets_a_stop_then_ends_at_its_next_report_and_the_child_goes_on(table: Path, tmp_path: Path) -> None:
    with served(Endless(), tmp_path) as parent:
        for _ in range(2):
            order(parent, ORDER, table)
            while "progress" not in received(parent).content:
                pass
            parent.send({"stop": True})
            while "end" not in (message := received(parent)).content:
                pass
            assert (message.content["end"], message.content["problem"]) == ("cancelled", None)


def test_stop_when_it_comes_after_the_end_then_does_not_touch_the_next_job(table: Path, tmp_path: Path) -> None:
    with served(Stepping(), tmp_path) as parent:
        parent.send({"stop": True})
        order(parent, ORDER, table)

        assert "find_parts" in received(parent).content
        parent.send({"parts": []})
        while "end" not in (message := received(parent)).content:
            pass
        assert message.content["end"] == "succeeded"


def test_job_when_its_request_is_unreadable_then_a_newer_service_wrote_it(table: Path, tmp_path: Path) -> None:
    with served(Stepping(), tmp_path) as parent:
        order(parent, ORDER | {"request": {"model": "m"}}, table)
        end = received(parent).content

    assert (end["end"], end["problem"]["code"]) == ("failed", "worker_too_old")


def test_child_when_its_device_is_broken_then_says_so_and_leaves(table: Path, tmp_path: Path) -> None:
    with served(Broken(), tmp_path) as parent:
        order(parent, ORDER, table)
        end = received(parent).content

    assert (end["end"], end["problem"]["code"], end["leaving"]) == ("failed", "internal", True)


def test_model_when_it_passes_then_its_archive_comes_in_pieces_and_nothing_is_left(table: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with served(Stepping(), scratch) as parent:
        order(parent, INSPECTION, table)
        archive = b""
        while "archive" in (message := received(parent)).content:
            archive += message.payload
        end = received(parent).content

    assert archive == b"clean" * 500_000
    assert message.content == {"manifest": {"layers": []}}
    assert end["end"] == "succeeded"
    assert list(scratch.iterdir()) == []


def test_model_when_it_does_not_pass_then_no_byte_of_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(b"bad")
    scratch = tmp_path / "scratch"
    with served(Stepping(), scratch) as parent:
        order(parent, INSPECTION, tmp_path / "upload")
        end = received(parent).content

    assert (end["end"], end["problem"]["code"]) == ("failed", "bad_archive")
    assert list(scratch.iterdir()) == []


def test_job_when_its_request_has_unknown_options_then_they_have_their_defaults_and_it_runs(table: Path, tmp_path: Path) -> None:
    request = ORDER["request"] | {"execution": "auto", "methods": [{"name": "gradient", "colour": None}]}
    with served(Stepping(), tmp_path) as parent:
        order(parent, ORDER | {"request": request}, table)
        while "end" not in (message := received(parent)).content:
            if "find_parts" in message.content:
                parent.send({"parts": []})

    assert message.content["end"] == "succeeded"
