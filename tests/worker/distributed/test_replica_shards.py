"""A replica's parent reads the shards for its child, as the owner's parent does."""

from pathlib import Path
from typing import Any, cast

import pytest

from tests.worker.process.test_parent_shards import stored
from unitrank_worker.attempts.shard_reads import ShardReads
from unitrank_worker.children.handle import ChildHandle
from unitrank_worker.distributed.questions import question_digest
from unitrank_worker.distributed.replica import JobHead, Replica, Step
from unitrank_worker.process.channel import Closed, Message

PASS = {"pass": "attribution", "ranges": 1}


class ScriptedChild:
    """A child that has sent these messages already, and notes what it gets."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = [Message(content) for content in messages]
        self.received: list[tuple[dict[str, Any], bytes]] = []

    def receive(self, seconds: float) -> Message:
        return self._messages.pop(0)

    def send(self, content: dict[str, Any], payload: bytes = b"") -> None:
        self.received.append((content, payload))


def compute(child: ScriptedChild, folder: Path) -> None:
    blobs, _, digest = stored(folder)
    head = JobHead(key="a", tenant="t", content={}, datasets=[digest])
    # cast: the replica only sends to its child and receives from it.
    replica = Replica(head, cast(ChildHandle, child), lambda: False, ShardReads(blobs, head.datasets))
    replica._advance(Step(0, question_digest(PASS)), lambda number: pytest.fail("no question was answered before"))


def test_replica_when_its_child_asks_for_rows_then_gets_them_before_the_pass(tmp_path: Path) -> None:
    child = ScriptedChild({"read_shards": 0, "ranges": [[0, 0, 4], [1, 0, 2]]}, PASS)
    compute(child, tmp_path)

    assert child.received == [({"shard_bytes": [4, 2]}, b"PK\x03\x04PK")]


def test_replica_when_its_child_asks_for_rows_that_do_not_exist_then_the_child_is_lost(tmp_path: Path) -> None:
    with pytest.raises(Closed):
        compute(ScriptedChild({"read_shards": 0, "ranges": [[9, 0, 4]]}), tmp_path)
