"""The fill tests that a study needs."""

from dataclasses import dataclass
from functools import partial

from unitrank_engine.ablation.masks.fill_test import FillTest
from unitrank_engine.ablation.masks.mask_runner import MaskRunner
from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.jobs.study_plan import check_plan, reversal_plan, study_plan


@dataclass(frozen=True)
class FillTests:
    """The fill tests of a study."""

    main: FillTest
    """With the request's fill."""
    check: FillTest | None
    """With `check_fill`; None where the request needs no such test."""
    reversal: FillTest
    """With the request's fill, for the reversed orders of rankings that are worse than random."""

    @property
    def judging(self) -> list[FillTest]:
        """The tests that every ranking takes."""
        return [self.main, self.check] if self.check else [self.main]

    @classmethod
    def of(cls, request: Ablation, fills: Fills) -> "FillTests":
        """Return the tests that the request needs."""
        context = fills.context
        runner = MaskRunner(context, fills.batch, list(request.counts_of(context.units.count)))
        orders = context.once(_orders)
        plan = study_plan(
            request,
            units=context.units.count,
            clusters=len(context.clusters),
            methods=context.request.methods,
            classes=context.explained,
        )
        checked = check_plan(request, plan) if len(context.all_rows()) > 1 else None
        test = partial(FillTest, fills=fills, runner=runner, orders=orders)
        return cls(
            main=test(plan=plan, fill=request.fill),
            check=test(plan=checked, fill=request.check_fill) if checked and request.check_fill else None,
            reversal=test(plan=reversal_plan(plan), fill=request.fill),
        )


def _orders(context: JobContext) -> Orders:
    return Orders(context.units.count, context.streams)
