"""Results of ranges that do not fit or are too large, as a model that controls a replica sends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from unitrank_schemas.base import Json
from unitrank_tables.range_result import RangeResult
from unitrank_worker.distributed.division import LOG_RESULTS, Division
from unitrank_worker.distributed.nodes import Done, Kept, Nodes
from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Outcome, Step, _computed
from unitrank_worker.process.channel import Closed, Message

PROGRESS = {"done": 1, "total": 2, "unit": "rows", "stage": "attribution", "eta": None}
SMALL = RangeResult({"sum": np.zeros(3)}, {"row": np.zeros(2)}).encode()
PASS = {"pass": "attribution", "ranges": 4}
MOST = 2000


class OneNode(Nodes):
    """A node that takes any number of ranges, and computes none."""

    count, busy = 1, True

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.kept: list[Answer] = []

    def free(self) -> Sequence[str]:
        return ["a"]

    def keep(self, answer: Answer) -> Kept:
        self.kept.append(answer)

    def submit(self, node: str, head: JobHead, step: Step, index: int, answers: Sequence[Kept]) -> None:
        self.taken.append(index)

    def wait(self, seconds: float) -> Sequence[Done]:
        return []

    def leave_out(self, place: str) -> None: ...

    def stop(self, key: str) -> None: ...


class Divided:
    """A division with one node, and all that it sent to the owner."""

    def __init__(self) -> None:
        self.nodes = OneNode()
        self.sent: list[Json] = []
        self.division = Division(
            JobHead("j.1", "t", {}), self.nodes, lambda content, payload: self.sent.append(content), most_bytes=MOST
        )

    def take(self, index: int, payload: bytes) -> None:
        self.division.take(Done("j.1", "a", index, Outcome("computed", payload, {"rows": 1, "progress": PROGRESS})))

    @property
    def problem(self) -> Json:
        assert self.division.failure is not None
        assert self.sent[-1] == {"failed": self.division.failure}
        assert not self.division.running
        return self.division.failure


@pytest.mark.parametrize(
    "other",
    [
        RangeResult({"sum": np.zeros((9, 1))}, {"row": np.zeros(2)}).encode(),
        RangeResult({"sum": np.zeros(3)}, {"row": np.zeros((2, 2))}).encode(),
        RangeResult({"other": np.zeros(3)}, {"row": np.zeros(2)}).encode(),
        b"no safetensors",
    ],
    ids=["sums of another shape", "rows of another shape", "another name", "damaged"],
)
def test_range_when_its_result_does_not_fit_then_the_job_fails_in_clear_words(other: bytes) -> None:
    divided = Divided()
    divided.division.begin_pass(PASS)
    divided.take(0, SMALL)
    divided.take(1, other)

    assert divided.problem["code"] == "nodes_differ"
    assert "the results of two ranges do not fit" in divided.problem["detail"]


def test_pass_when_the_rows_of_its_ranges_are_too_many_bytes_then_the_job_fails() -> None:
    divided = Divided()
    divided.division.begin_pass(PASS)
    half = RangeResult({}, {"row": np.zeros(MOST // 16 + 1)}).encode()
    divided.take(2, half)
    assert divided.division.failure is None
    divided.take(3, half)

    assert divided.problem["code"] == "result_too_large"
    assert f"a result of more than {MOST} bytes" in divided.problem["detail"]


def test_owner_when_it_asks_for_parts_without_end_then_its_job_fails_and_the_log_stays_small() -> None:
    divided = Divided()
    for _ in range(LOG_RESULTS + 5):
        divided.division.note_answer({"find_parts": ["aa"]}, {"parts": [["aa", MOST]]}, bytes(MOST))

    assert divided.problem["code"] == "result_too_large"
    assert len(divided.nodes.kept) == LOG_RESULTS
    divided.division.begin_pass(PASS)
    assert divided.problem["code"] == "result_too_large"
    assert divided.nodes.taken == []


@pytest.mark.parametrize(
    "content",
    [
        {"rows": -1, "progress": None},
        {"rows": True, "progress": None},
        {"rows": float("inf"), "progress": None},
        {"rows": 10**400, "progress": None},
        {"rows": [1], "progress": None},
        {"rows": 1, "progress": {"stage": "x"}},
        {"rows": 1, "progress": PROGRESS | {"stage": "x" * 257}},
        {"rows": 1},
    ],
    ids=lambda content: str(content)[:60],
)
def test_result_of_a_range_when_malformed_then_the_child_is_lost(content: dict[str, Any]) -> None:
    with pytest.raises(Closed, match="malformed result"):
        _computed(Message({"ranged": 0} | content, SMALL))
