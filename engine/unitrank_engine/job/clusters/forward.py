"""Forward passes that finding the clusters needs: predicted classes, and the values of a layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int, Integer
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.batch_size import rows_at_once, rows_of_range
from unitrank_engine.job.examples import Examples
from unitrank_engine.job.passes import LocalRunner, PassRunner, ranges_of
from unitrank_engine.job.progress import ProgressMeter
from unitrank_engine.job.targets import predicted
from unitrank_engine.program import Place, Program
from unitrank_engine.program.subgraphs import sources_of
from unitrank_schemas.jobs.targets import Target
from unitrank_tables.range_result import RangeResult

STAGE = "clusters"


class Forward:
    """Passes dataset rows through the model before the clusters exist.

    Each batch is reported to `meter`, which stops a cancelled job.

    `output`: the name of the model's output that gives the classes.
    `target`: says what the output's values are, for clusters by prediction.
    `runner`: runs the passes over rows.
    """

    def __init__(
        self,
        program: Program,
        output: str,
        target: Target,
        examples: Examples,
        meter: ProgressMeter,
        runner: PassRunner | None = None,
    ) -> None:
        self.program = program
        self.output = output
        self.target = target
        self.examples = examples
        self.meter = meter
        self.runner = runner or LocalRunner()
        self.rows_done = 0

    def classes(self, count: int) -> Integer[np.ndarray, " rows"]:
        """The classes that the model predicts for the first rows of the dataset, as small numbers.

        `count`: the number of rows.
        """
        self.meter.plan(STAGE, count, sum(self.program.costs.values()))
        shape = self.program.outputs[self.output].shape
        dtype = np.min_scalar_type(max(1, *(size or 1 for size in shape)))

        def predict(inputs: tuple[Tensor, ...]) -> np.ndarray:
            return predicted(self.target, self.program.forward(inputs, self.output)).cpu().numpy()

        def classes(part: range) -> np.ndarray:
            rows = np.arange(part.start, part.stop)
            return np.concatenate([predict(inputs) for _, inputs in self._batches(rows)]).astype(dtype)

        return self.map(count, classes)

    def map(self, count: int, values: Callable[[range], np.ndarray]) -> np.ndarray:
        """The values of this many rows, which `values` computes for ranges of them."""
        before, batch = self.rows_done, rows_at_once(self.program)

        def compute(part: range) -> RangeResult:
            at_first, rows = self.rows_done, {"values": values(part)}
            return RangeResult({"passed": np.array([self.rows_done - at_first])}, rows)

        size = rows_of_range(sum(self.program.costs.values()), clusters=1, batch=batch, device=self.program.device)
        result = self.runner.run(STAGE, ranges_of(count, size), compute)
        self.rows_done = before + int(result.sums["passed"][0])
        return result.rows["values"]

    def at(self, layer: str, rows_in_all: int) -> "LayerValues":
        """The values of a layer's output.

        `rows_in_all`: the number of rows that will be read, for the progress.

        Raises EngineError `layer_not_found`.
        """
        place = self.program.place(layer, "output")
        self.meter.plan(STAGE, rows_in_all, sum(self.program.costs.get(node, 0) for node in sources_of(place.node)))
        return LayerValues(self, place)

    def _batches(self, rows: Int[np.ndarray, " rows"]) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
        """The position of each batch in `rows`, and its inputs."""
        size = rows_at_once(self.program)
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            yield slice(start, start + len(batch)), self.examples.inputs(batch)
            self.rows_done += len(batch)
            self.meter.advance(STAGE, len(batch))


@dataclass(frozen=True)
class LayerValues:
    """The values of a layer's output for any dataset rows, with one column for each unit."""

    forward: Forward
    place: Place

    def of(self, rows: Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows units"]:
        """The values for these rows. Raises EngineError `non_finite`."""
        program, values = self.forward.program, np.empty((len(rows), self.place.units), dtype=np.float32)
        head = program.head(self.place)
        for batch, inputs in self.forward._batches(rows):
            with torch.no_grad():
                (h,) = head(*inputs)
            values[batch] = h.movedim(self.place.batch_axis, 0).flatten(1).float().cpu().numpy()
            if not np.isfinite(values[batch]).all():
                row = int(rows[batch][~np.isfinite(values[batch]).all(1)][0])
                detail = (
                    f"layer '{self.place.layer}' is NaN or infinite for row {row} of the dataset, and clusters need finite values; "
                    "look for a division by zero or an overflow before this layer, or name another layer"
                )
                raise EngineError("non_finite", detail)
        return values
