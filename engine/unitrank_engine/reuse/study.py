"""An ablation study that reuses the runs of earlier jobs."""

from dataclasses import replace

from unitrank_engine.ablation.masks.fill_test import Importance
from unitrank_engine.ablation.masks.fill_tests import FillTests
from unitrank_engine.ablation.masks.tested import TestedCluster
from unitrank_engine.ablation.study import Judged, Measured, Study, StudyOutcome
from unitrank_engine.job.fills import Fills
from unitrank_engine.reuse.fill_test import CachedFillTest
from unitrank_engine.reuse.parts import JobParts
from unitrank_schemas.jobs.ablation import Ablation


class CachedStudy:
    """Wraps a study; its fill tests read and write the store."""

    def __init__(self, parts: JobParts, fills: Fills, request: Ablation) -> None:
        self.parts = parts
        self.reused: set[str] = set()
        """Ids of the rankings whose tests all come from earlier jobs; set by `run`."""
        self.seconds_of_controls = 0.0
        """Share of the time of the controls that ran for several studies."""
        tests = FillTests.of(request, fills)
        self.tests = [CachedFillTest(test, parts) for test in tests.judging]
        self._reversal = tests.reversal
        self.study = Study(fills.context, request, self.tests, self._test_reversed)

    def plan(self, rankings: int) -> None:
        """Announce the stage's rows. `rankings`: the number of rankings that probably must run."""
        self.study.plan(rankings)

    def measure(self, importance: Importance) -> Measured:
        """As `Study.measure`."""
        self.reused = set.intersection(*[test.find(importance) for test in self.tests])
        if all(test.reuses_controls for test in self.tests):
            self.parts.reused.append("controls")
        self.plan(len(importance) - len(self.reused))
        measured = self.study.measure(importance)
        for test in self.tests:
            test.keep(importance)
        return replace(measured, seconds=measured.seconds + self.seconds_of_controls)

    def conclude(self, measured: Measured, judged: Judged) -> StudyOutcome:
        """As `Study.conclude`."""
        return self.study.conclude(measured, judged)

    def _test_reversed(self, importance: Importance) -> list[TestedCluster]:
        plan = self._reversal.plan
        controls = [each.of_random(plan.random, plan.counts) for each in self.tests[0].controls]
        test = CachedFillTest(self._reversal, self.parts, controls)
        test.find(importance)
        tested = test.run(importance)
        test.keep(importance)
        return tested
