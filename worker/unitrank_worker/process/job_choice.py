"""Chooses which job a free worker runs: one whose model fits here, and if possible is warm."""

from collections.abc import Callable

from unitrank_store.queue.exchange import exchange, most_overtaking, next_in_line, turn_of
from unitrank_store.queue.fair_queue import FairQueue
from unitrank_store.queue.for_larger import claim, leave_for_larger, models_for_larger
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_worker.attempts.stores import Stores


class JobChoice:
    """The choice of one worker. `has_warm`: takes a tenant and the digest of a model's upload."""

    def __init__(self, queue: FairQueue, stores: Stores, workers: WorkerRegistry, has_warm: Callable[[str, str], bool]) -> None:
        self._queue = queue
        self._stores = stores
        self._workers = workers
        self._has_warm = has_warm

    def claim(self) -> str | None:
        """An id that workers with less memory have left for this worker; None without one.

        If no worker has the memory any more, this worker takes the id, and the job fails.
        """
        for id, model in models_for_larger(self._queue.connection, self._queue.name):
            if (model is None or not self._is_for_larger(model.digest)) and claim(self._queue, id):
                return id
        return None

    def choose(self, id: str) -> str | None:
        """The id to run: the taken one, or the first id behind it whose model is warm here.

        None if the job was left for a worker with more memory.
        """
        connection, name = self._queue.connection, self._queue.name
        turn = turn_of(connection, name, id)
        if turn.model is None or self._has_warm(*turn.model):
            return id
        if self._is_for_larger(turn.model.digest):
            leave_for_larger(self._queue, id)
            return None
        if turn.line is None:
            return id
        other = next((other for other, model in next_in_line(connection, turn.line) if self._has_warm(*model)), None)
        if other is None:
            return id
        most = most_overtaking(connection, name, len(self._workers.list(name)))
        taken = self._queue.intermediate_queue_key
        return other if exchange(connection, name, taken=taken, line=turn.line, id=id, other=other, most=most) else id

    def _is_for_larger(self, digest: str) -> bool:
        """Whether the model does not fit here, and fits at another worker that is alive.

        A malformed model is for this worker, where its job fails.
        """
        try:
            model, memory = self._stores.model(digest), self._stores.memory
            if model is None or model.manifest is None or memory.fits(model.manifest):
                return False
            return memory.fits_in(model.manifest, memory.largest())
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return False
