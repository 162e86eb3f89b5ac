"""Whether a model's parameters fit in the memory of the worker's device, and of other workers'."""

from unitrank_schemas.base import Json
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_worker.attempts.attempt import CannotRun

PARAMETER_BYTES = 4
"""Parameters are kept as float32."""
ROOM = 1.2
"""A job needs at least this many times the bytes of the parameters."""


class DeviceMemory:
    """The memory that jobs can use, of this worker (`own`, in bytes) and of the other workers.

    `queue`: name of the workers' queue. A memory of 0 bytes is unknown, and counts as enough for
    this worker's jobs.
    """

    def __init__(self, workers: WorkerRegistry, queue: str, own: int = 0) -> None:
        self._workers = workers
        self._queue = queue
        self.own = own

    def fits(self, manifest: Json) -> bool:
        """Whether the model fits in the memory of this worker's device."""
        return not self.own or self.fits_in(manifest, self.own)

    def fits_in(self, manifest: Json, memory: int) -> bool:
        """Whether the model fits in `memory` bytes."""
        return needed_bytes(manifest) <= memory

    def require(self, manifest: Json) -> None:
        """Raises CannotRun if the model does not fit in the memory of this worker's device.

        A job whose model fits at another worker was left for that worker before.
        """
        if self.fits(manifest):
            return
        parameters, needed, largest = int(manifest["parameters"]), needed_bytes(manifest) / 1e9, self.largest() / 1e9
        raise CannotRun(
            "model_too_large",
            f"the model has {parameters:,} parameters: a job needs at least {needed:.2f} GB (4 bytes each, and a fifth more for "
            f"the job), and the largest worker has {largest:.2f} GB; ask the operator for a worker on a device with more memory, "
            "or use a smaller model",
        )

    def largest(self) -> int:
        """The memory of the largest worker that is alive, in bytes."""
        return max([self.own, *(worker.device_memory for worker in self._workers.list(self._queue))])


def needed_bytes(manifest: Json) -> int:
    """The bytes that a job on the model needs at least."""
    return int(int(manifest.get("parameters", 0)) * PARAMETER_BYTES * ROOM)
