"""The engine of workers with small batches and ranges, so that a small job has many ranges."""

from unitrank_engine.job import batch_size
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.engine import TorchEngine


class SmallRanges(TorchEngine):
    """A range has about one batch, and a batch has few rows."""

    def __init__(self, settings: ChildSettings, device: str) -> None:
        super().__init__(settings, device)
        batch_size.RANGE_OPERATIONS = dict.fromkeys(batch_size.RANGE_OPERATIONS, 1.0)
        batch_size.ROWS_PER_CLUSTER = 1
        batch_size.CPU_BYTES = 1 << 20
