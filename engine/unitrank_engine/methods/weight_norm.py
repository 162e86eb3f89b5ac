"""Weight norm: the size of a unit's outgoing weights times its mean absolute value."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.batch_size import rows_behind
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Point
from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.program.linearity.outgoing import next_linear, reached_features
from unitrank_schemas.checks.methods import no_linear_operation
from unitrank_schemas.methods import MethodBase


class WeightNormMethod(ScoringMethod):
    """s = ‖outgoing weights‖ · mean of |h| over the unit's elements."""

    @classmethod
    def prepare(cls, entry: MethodBase, context: JobContext) -> Float[Tensor, " units"]:
        return context.once(outgoing_norms)

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: False}

    def visit(self, point: Point) -> None:
        self._h = point.h

    def by_unit(self) -> Float[Tensor, "rows units"]:
        units, norms = self.batch.context.units, cast(Tensor, self.prepared)
        sizes = units.reduce(torch.ones_like(self._h[:1]))
        return units.reduce(self._h.abs()) / sizes * norms


def outgoing_norms(context: JobContext) -> Float[Tensor, " units"]:
    """Return the L2 norm of each unit's outgoing weights, of all operations. Raises EngineError."""
    program, place, units = context.program, context.split.place, context.units
    operations = next_linear(program, place)
    if not operations:
        raise EngineError("method_not_applicable", no_linear_operation(place.at, place.layer))
    example = tuple(tensor[:1] for tensor in context.examples.inputs(context.clusters[0].rows[:1]))
    h = context.split.head(example)[0]
    norms = []
    for chosen in torch.split(torch.arange(units.count, device=context.device), rows_behind(context.split, context.device)):
        of_units = torch.zeros(len(chosen), units.count, dtype=h.dtype, device=context.device)
        of_units[torch.arange(len(chosen)), chosen] = 1.0
        elements = units.spread(of_units).expand(-1, *place.shape).contiguous()
        squares = [reached_features(program, place, linear, elements, example) @ linear.squares(program) for linear in operations]
        norms.append(torch.stack(squares).sum(0).sqrt())
    return torch.cat(norms)


FAMILY: dict[str, type[ScoringMethod]] = {"weight_norm": WeightNormMethod}
