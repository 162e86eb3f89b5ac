"""Chooses which job of an owner a free worker runs: if possible, one whose model is warm."""

from collections.abc import Callable

from unitrank_store.queue.exchange import exchange, most_overtaking, next_in_line, turn_of
from unitrank_store.queue.rq_queue import FairQueue
from unitrank_store.worker_registry import WorkerRegistry


class WarmChoice:
    """The choice of one worker. `has_warm`: takes a tenant and the digest of a model's upload."""

    def __init__(self, queue: FairQueue, workers: WorkerRegistry, has_warm: Callable[[str, str], bool]) -> None:
        self._queue = queue
        self._workers = workers
        self._has_warm = has_warm

    def __call__(self, id: str) -> str:
        """The id to run: the taken one, or the first id behind it whose model is warm here."""
        connection, name = self._queue.connection, self._queue.name
        turn = turn_of(connection, name, id)
        if turn.line is None or turn.model is None or self._has_warm(*turn.model):
            return id
        other = next((other for other, model in next_in_line(connection, turn.line) if self._has_warm(*model)), None)
        if other is None:
            return id
        most = most_overtaking(connection, name, len(self._workers.list(name)))
        taken = self._queue.intermediate_queue_key
        return other if exchange(connection, name, taken=taken, line=turn.line, id=id, other=other, most=most) else id
