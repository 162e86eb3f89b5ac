"""The controls that the studies of several classes share."""

from collections.abc import Sequence
from time import perf_counter

from unitrank_engine.ablation.masks.fill_test import FillTest
from unitrank_engine.ablation.masks.fill_tests import FillTests
from unitrank_engine.ablation.study import announce, naming_check
from unitrank_engine.attribution.ranking_errors import advise_without
from unitrank_engine.job.fills import Fills
from unitrank_engine.reuse.fill_test import CachedFillTest
from unitrank_engine.reuse.study import CachedStudy
from unitrank_schemas.jobs.ablation import Ablation


class SharedControls:
    """Runs the controls of all studies of a job once: each pass gives the score of every class.

    `fills`: counts its passes as a part of the stage.
    """

    def __init__(self, studies: Sequence[CachedStudy], fills: Fills, request: Ablation) -> None:
        self.context = fills.context
        self.studies = studies
        self._tests = FillTests.of(request, fills)
        of_tests = zip(*[study.tests for study in studies], strict=True)
        self._lacking = [[each for each in of_studies if not each.reuses_controls] for of_studies in of_tests]
        """For each test, the tests of the classes whose controls no earlier job left."""

    def plan(self) -> None:
        """Announce the rows to the progress meter."""
        pairs = zip(self._tests.judging, self._lacking, strict=True)
        announce(self.context, sum(test.plan.masks(0) for test, lacking in pairs if lacking))

    def run(self, rankings: Sequence[str]) -> None:
        """Run the controls, and give them to the studies.

        `rankings`: ids of the rankings whose scores are complete and finite.

        Raises EngineError `non_finite`.
        """
        began = perf_counter()
        main, *checks = zip(self._tests.judging, self._lacking, strict=True)
        with advise_without("ablation", rankings):
            _run(*main)
            for check in checks:
                with naming_check(check[0].fill):
                    _run(*check)
        for study in self.studies:
            study.seconds_of_controls = (perf_counter() - began) / len(self.studies)


def _run(test: FillTest, lacking: Sequence[CachedFillTest]) -> None:
    """Run a test's controls for the classes that lack them."""
    if not lacking:
        return
    for each, controls in zip(lacking, test.controls([each.test.context for each in lacking]), strict=True):
        each.controls = controls
        # Smaller batches round differently, and such sums must not be stored.
        each.test.runner.halved = each.test.runner.halved or test.runner.halved
