"""Nodes in this process, each with a thread and a real child, instead of Ray's actors."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from unitrank_store.settings import Settings
from unitrank_worker.distributed.node import Node
from unitrank_worker.distributed.nodes import Done, Kept
from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Outcome, Step

IN_FLIGHT = 2


@dataclass
class Work:
    key: str
    index: int
    run: Callable[[], Outcome]


@dataclass
class LocalNode:
    """A node whose thread starts the child, and lives as long as the node."""

    name: str
    engine: str
    settings: Settings
    done: "queue.Queue[Done]"
    flying: list[Work] = field(default_factory=list)
    left_out: bool = False

    def __post_init__(self) -> None:
        self._work: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._ready = threading.Event()
        self.node: Node | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> Node:
        assert self._ready.wait(100)
        assert self.node is not None
        return self.node

    def give(self, work: Work) -> None:
        self.flying.append(work)
        self._work.put(lambda: self._compute(work))

    def order(self, step: Callable[[], object]) -> None:
        self._work.put(step)

    def end(self) -> None:
        self._work.put(None)
        self._thread.join(20)

    def _compute(self, work: Work) -> None:
        outcome = work.run()
        self.done.put(Done(work.key, self.name, work.index, outcome))

    def _run(self) -> None:
        try:
            self.node = Node(self.engine, "cpu", self.settings)
        finally:
            self._ready.set()
        while (step := self._work.get()) is not None:
            step()
        self.node.end()


class LocalNodes:
    """A cluster of these nodes. As `Cluster`."""

    def __init__(self, engine: str, settings: Sequence[Settings]) -> None:
        self._done: queue.Queue[Done] = queue.Queue()
        self.nodes = [LocalNode(f"node-{number}", engine, each, self._done) for number, each in enumerate(settings)]
        for node in self.nodes:
            node.wait()

    def begin(self) -> None:
        """Nothing: the nodes run."""

    def refresh(self) -> None:
        """Nothing: no node comes or goes."""

    def release(self) -> None:
        """Nothing: the nodes stay."""

    @property
    def none_is_left(self) -> bool:
        return False

    @property
    def count(self) -> int:
        return sum(not node.left_out for node in self.nodes)

    @property
    def busy(self) -> bool:
        return any(node.flying for node in self.nodes)

    def free(self) -> Sequence[str]:
        able = [node for node in self.nodes if len(node.flying) < IN_FLIGHT and not node.left_out]
        return [node.name for node in sorted(able, key=lambda node: len(node.flying))]

    def keep(self, answer: Answer) -> Kept:
        return answer

    def submit(self, node: str, head: JobHead, step: Step, index: int, answers: Sequence[Kept]) -> None:
        (target,) = (each for each in self.nodes if each.name == node)
        log = list(answers)
        target.give(Work(head.key, index, lambda: target.wait().compute(head, step, index, log.__getitem__)))

    def wait(self, seconds: float) -> Sequence[Done]:
        try:
            done = self._done.get(timeout=seconds)
        except queue.Empty:
            return []
        (target,) = (each for each in self.nodes if each.name == done.place)
        target.flying = [work for work in target.flying if (work.key, work.index) != (done.key, done.index)]
        return [done]

    def leave_out(self, place: str) -> None:
        for node in self.nodes:
            node.left_out |= node.name == place

    def stop(self, key: str) -> None:
        for node in self.nodes:
            node.wait().interrupt(key)
            node.order(lambda node=node: node.wait().finish(key))  # type: ignore[misc]  # mypy knows no default of a lambda

    def end(self) -> None:
        for node in self.nodes:
            node.end()
