"""The stages of one target of a job: its scores, its study and its fidelity."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from unitrank_engine.ablation.exact.result import ExactResult
from unitrank_engine.ablation.removed_units import removal_steps
from unitrank_engine.ablation.study import Judged, Measured, StudyOutcome
from unitrank_engine.attribution.fidelity import FidelityObserver, judge, sampled_share
from unitrank_engine.attribution.ranking_errors import advise_without
from unitrank_engine.attribution.scores import Attribution, Drops, MethodScores, score_key
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_engine.methods.given import brought_importance
from unitrank_engine.result.outcome import TargetOutcome
from unitrank_engine.reuse.exact_tests import ExactTests
from unitrank_engine.reuse.parts import JobParts
from unitrank_engine.reuse.sanity import Sanity
from unitrank_engine.reuse.study import CachedStudy
from unitrank_engine.reuse.target_pass import CachedTargetPass
from unitrank_schemas.methods import MethodBase
from unitrank_schemas.results import FidelityResult
from unitrank_tables import Table
from unitrank_tables.top_units import highest


class TargetStages:
    """The scores of one target, and its study and fidelity where the request has them.

    `parts`: of the job that explains this target alone.
    `further`: reference → table of the datasets that entries of `methods` read.
    """

    def __init__(self, parts: JobParts, fills: Fills, further: Mapping[str, Table]) -> None:
        context = fills.context
        request = context.request
        self.context = context
        self.parts = parts
        self._brought = brought_importance(context, further)
        self.scores = CachedTargetPass(parts, fills, [entry for entry in request.methods if entry.scores_examples])
        counted = fills if context.target_class is None else counted_as(context.target_class, fills)
        self.study = CachedStudy(parts, counted, request.ablation) if request.ablation else None
        self.exact = ExactTests(parts, counted, request.ablation) if request.ablation else None
        has_sanity = request.ablation is not None and request.ablation.sanity is not None
        self.sanity = Sanity(parts, counted, request.ablation) if request.ablation and has_sanity else None
        self.fidelity = FidelityObserver(fills, request.fidelity) if request.fidelity else None

    @property
    def entries(self) -> list[MethodBase]:
        """The request's methods, with the spacings that are used."""
        computed = {entry.id: entry for entry in self.scores.entries}
        return [computed.get(entry.id, entry) for entry in self.context.request.methods]

    def plan(self) -> None:
        """Announce the rows of the study and the exact tests to the progress meter."""
        fresh = sum(not self.scores.reuses(entry) for entry in self.entries)
        if self.study:
            self.study.plan(fresh)
        if self.exact:
            self.exact.plan(fresh)
        if self.sanity:
            self.sanity.plan([entry for entry in self._computed if not self.scores.reuses(entry)])

    def with_brought(self, computed: Attribution) -> Attribution:
        """Add the scores of the rankings whose importance came with the job."""
        brought = {
            score_key(entry): MethodScores.brought(entry, self._brought[str(entry.id)])
            for entry in self.entries
            if entry.id in self._brought
        }
        return replace(computed, by_key=computed.by_key | brought)

    def measure(self, attribution: Attribution) -> Measured | None:
        """Run the study's tests; None without an ablation."""
        if self.study is None:
            return None
        importance = self._importance(attribution)
        with advise_without("ablation", list(importance)):
            return self.study.measure(importance)

    def outcome(self, attribution: Attribution, measured: Measured | None, judged: Judged | None) -> TargetOutcome:
        """Conclude the study and run the exact tests; return all that was computed for the target.

        `judged`: the judgements of the rankings of all targets; None without an ablation.
        """
        study: StudyOutcome | None = None
        exact: Mapping[str, ExactResult] = {}
        weights_matter: Mapping[str, float | None] = {}
        steps: Mapping[str, np.ndarray] = {}
        if self.study and self.exact and measured and judged:
            steps = removal_steps(self.context, measured.importance)
            importance, entries = measured.importance, {str(entry.id): entry for entry in self.entries}
            with advise_without("ablation", list(importance)):
                study = self.study.conclude(measured, judged)
                exact = self.exact.run(importance, lambda name, count: _top(self.context, attribution, entries[name], count))
                if self.sanity:
                    clusters = {name: each.clusters for name, each in study.rankings.items()}
                    of_entry = partial(importance_of, self.context)
                    weights_matter = self.sanity.run(self._computed, importance, of_entry, clusters)
        return TargetOutcome(
            context=self.context,
            entries=self.entries,
            attribution=attribution,
            study=study,
            exact=exact,
            weights_matter=weights_matter,
            removal_steps=steps,
            fidelity=self._fidelity(),
        )

    @property
    def _computed(self) -> list[MethodBase]:
        """The methods whose scores come from the model."""
        return [entry for entry in self.scores.entries if entry.name != "given"]

    def _importance(self, attribution: Attribution) -> dict[str, list[np.ndarray]]:
        return {str(entry.id): importance_of(self.context, attribution, entry) for entry in self.entries}

    def _fidelity(self) -> dict[str, FidelityResult]:
        """Return each ranking's fidelity; `{}` where the request does not ask for it."""
        if self.fidelity is None:
            return {}
        drops = {str(entry.id): self.fidelity.drops[score_key(entry)] for entry in self.scores.entries}
        if sampled_share(self.context) is None:
            membership = self.scores.membership
            first = membership.part(range(len(membership))).first_passes
            drops = {name: Drops(each.predicted[first], each.actual[first]) for name, each in drops.items()}
        return judge(drops, compare=self.fidelity.request.select != "top")

    def reused(self) -> list[str]:
        """Return the names of reused results: `clusters`, `controls`, and rankings by their ids.

        A ranking of which only one part was reused is named `<id>/scores` or `<id>/ablation`.
        """
        names = list(self.parts.reused)
        for entry in self.entries:
            reused = {"scores": self.scores.reuses(entry)} if entry.scores_examples else {}
            if self.study:
                reused["ablation"] = entry.id in self.study.reused
            if self.exact:
                reused |= {test: entry.id in rankings for test, rankings in self.exact.reused.items()}
            if self.sanity and entry in self._computed:
                reused["sanity"] = entry.id in self.sanity.reused
            whole = bool(reused) and all(reused.values())
            names += [str(entry.id)] if whole else [f"{entry.id}/{part}" for part in reused if reused[part]]
        return names


def counted_as(part: int, fills: Fills) -> Fills:
    """Return the fills for a study whose rows are a part of the stage's rows."""
    context = fills.context
    return fills.for_target(replace(context, meter=context.meter.of_part(part)))


def importance_of(context: JobContext, attribution: Attribution, entry: MethodBase) -> list[np.ndarray]:
    """Return each cluster's importance of every unit, from the examples that rank.

    These are the first half, or with `split: none` both halves.
    """
    sums = attribution.by_key[score_key(entry)].sums
    return [
        sums.of_cluster(index, None if halves.in_sample else 0).importance(entry.statistic)
        for index, halves in enumerate(context.halves)
    ]


def _top(context: JobContext, attribution: Attribution, entry: MethodBase, count: int) -> list[np.ndarray]:
    """Return each cluster's highest units, in the order of the result's `top`."""
    return [highest(attribution.importances([entry], index)[0], count) for index in range(len(context.clusters))]
