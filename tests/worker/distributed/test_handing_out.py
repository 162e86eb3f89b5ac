"""The order in which a division hands out ranges."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from unitrank_tables.sizes import MiB
from unitrank_worker.distributed.division import Division
from unitrank_worker.distributed.nodes import Done, Kept
from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Step


@dataclass
class NodesOfNames:
    """Nodes that note their ranges, at most two each, and compute nothing."""

    names: Sequence[str]
    ranges: list[tuple[str, int]] = field(default_factory=list)
    busy: bool = False

    def free(self) -> Sequence[str]:
        """The names of the nodes with fewer than two ranges."""
        taken = [node for node, _ in self.ranges]
        return [name for name in self.names if taken.count(name) < 2]

    @property
    def count(self) -> int:
        return len(self.names)

    def keep(self, answer: Answer) -> Kept:
        return answer

    def submit(self, node: str, head: JobHead, step: Step, index: int, answers: Sequence[Kept]) -> None:
        self.ranges.append((node, index))

    def wait(self, seconds: float) -> Sequence[Done]:
        return []

    def leave_out(self, place: str) -> None:
        """Do nothing."""

    def stop(self, key: str) -> None:
        """Do nothing."""


def test_pass_when_it_begins_then_each_node_gets_one_range_and_the_next_one_later() -> None:
    nodes = NodesOfNames(["a", "b", "c"])
    division = Division(JobHead("job", "tenant", {}), nodes, lambda content, payload: None, most_bytes=MiB)
    division.begin_pass({"pass": "attribution", "ranges": 100})

    assert nodes.ranges == [("a", 0), ("b", 1), ("c", 2)]
    division.hand_out()
    assert nodes.ranges[3:] == [("a", 3), ("b", 4), ("c", 5)]
    division.hand_out()
    assert len(nodes.ranges) == 6
