"""Plain forward passes over rows of the dataset, made before there are clusters: classes, and the values of any layer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.examples import Examples
from unitrank_engine.job.progress import ProgressMeter
from unitrank_engine.program import Place, Program
from unitrank_engine.program.subgraphs import sources_of

STAGE = "clusters"


class Forward:
    """The model as finders of clusters see it. Every batch is reported: this is also where a cancelled job stops."""

    def __init__(self, program: Program, output: str, examples: Examples, meter: ProgressMeter) -> None:
        self.program = program
        self.output = output
        self.examples = examples
        self.meter = meter
        self.rows_done = 0

    def classes(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """The classes that the model predicts."""
        self.meter.plan(STAGE, len(rows), sum(self.program.costs.values()))
        found = np.empty(len(rows), dtype=np.int64)
        for where, inputs in self._batches(rows):
            found[where] = self.program.forward(inputs, self.output).argmax(1).cpu().numpy()
        return found

    def at(self, layer: str, rows_in_all: int) -> "LayerValues":
        """The values of a layer's output; so many rows will be asked for. Raises EngineError `layer_not_found`."""
        place = self.program.place(layer, "output")
        self.meter.plan(STAGE, rows_in_all, sum(self.program.costs.get(node, 0) for node in sources_of(place.node)))
        return LayerValues(self, place)

    def _batches(self, rows: Int[np.ndarray, " rows"]) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
        """Where in `rows` a batch lies, and its inputs."""
        size = rows_at_once(self.program)
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            yield slice(start, start + len(batch)), self.examples.inputs(batch)
            self.rows_done += len(batch)
            self.meter.advance(STAGE, len(batch))


@dataclass(frozen=True)
class LayerValues:
    """What a layer gives for any rows, flattened."""

    forward: Forward
    place: Place

    def of(self, rows: Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows units"]:
        """Raises EngineError `non_finite`."""
        program, found = self.forward.program, np.empty((len(rows), self.place.units), dtype=np.float32)
        head = program.head(self.place)
        for where, inputs in self.forward._batches(rows):
            with torch.no_grad():
                (h,) = head(*inputs)
            found[where] = h.movedim(self.place.batch_axis, 0).flatten(1).float().cpu().numpy()
            if not np.isfinite(found[where]).all():
                wrong = int(rows[where][~np.isfinite(found[where]).all(1)][0])
                detail = (
                    f"layer '{self.place.layer}' is NaN or infinite for row {wrong} of the dataset, so that no clusters can be "
                    "made of its values; look for a division by zero or an overflow before it, or name another layer"
                )
                raise EngineError("non_finite", detail)
        return found
