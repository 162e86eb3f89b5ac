"""The ranking of all layers' units together: its scores are those of the layers, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from unitrank_engine.ablation.study import Judged, Measured
from unitrank_engine.attribution.examples.sampling_errors import SamplingErrors
from unitrank_engine.attribution.ranking_errors import advise_without
from unitrank_engine.attribution.scores import Attribution, MethodScores, score_key
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.fills import Fills
from unitrank_engine.result.outcome import TargetOutcome
from unitrank_engine.reuse.parts import JobParts
from unitrank_engine.reuse.study import CachedStudy
from unitrank_engine.stages.target import TargetStages, counted_as, importance_of
from unitrank_schemas.methods import MethodBase


class JointTarget:
    """The study of all layers' units together, for one target.

    `parts`: the same target of each layer.
    """

    def __init__(self, stored: JobParts, fills: Fills, parts: Sequence[TargetStages]) -> None:
        """`stored`: the intermediate results of the joint ranking."""
        context = fills.context
        self.context = context
        self.parts = parts
        counted = fills if context.target_class is None else counted_as(context.target_class, fills)
        ablation = context.request.ablation
        self.study = CachedStudy(stored, counted, ablation) if ablation else None
        self._stored = stored

    @property
    def entries(self) -> list[MethodBase]:
        """The request's methods. Layers can differ in the spacings that are used."""
        return list(self.context.request.methods)

    def plan(self) -> None:
        """Announce the rows of the study to the progress meter."""
        if self.study:
            self.study.plan(len(self.entries))

    def joined(self, attributions: Sequence[Attribution]) -> Attribution:
        """Return the scores of all layers side by side. `attributions`: those of the layers."""
        by_key = {}
        for index, entry in enumerate(self.entries):
            keys = [score_key(part.entries[index]) for part in self.parts]
            scores = [attribution.by_key[key] for attribution, key in zip(attributions, keys, strict=True)]
            by_key[score_key(entry)] = _side_by_side(entry, scores)
        first = attributions[0]
        return Attribution(first.membership, by_key, first.examples)

    def measure(self, attribution: Attribution) -> Measured | None:
        """Run the study's tests; None without an ablation."""
        if self.study is None:
            return None
        importance = {str(entry.id): importance_of(self.context, attribution, entry) for entry in self.entries}
        with advise_without("ablation", list(importance)):
            return self.study.measure(importance)

    def outcome(self, attribution: Attribution, measured: Measured | None, judged: Judged | None) -> TargetOutcome:
        """Conclude the study. `judged`: the rankings' judgements; None without an ablation."""
        study = None
        if self.study and measured and judged:
            with advise_without("ablation", list(measured.importance)):
                study = self.study.conclude(measured, judged)
        nothing: Mapping[str, np.ndarray] = {}
        return TargetOutcome(
            context=self.context,
            entries=self.entries,
            attribution=attribution,
            study=study,
            exact={},
            weights_matter={},
            removal_steps=nothing,
            fidelity={},
        )

    def reused(self) -> list[str]:
        """Return the names of reused results: rankings by their ids, and `controls`."""
        names = [name for name in self._stored.reused if name != "clusters"]
        return names + [str(entry.id) for entry in self.entries if self.study and entry.id in self.study.reused]


def _side_by_side(entry: MethodBase, scores: Sequence[MethodScores]) -> MethodScores:
    """The scores of one method at all layers. The halves of all layers have the same examples."""
    sums = [each.sums for each in scores]
    fourth = min(len(each.sums) for each in sums)
    joined = Sums.of(
        torch.cat([each.sums[:fourth] for each in sums], dim=2).cpu().numpy(), sums[0].counts, device=sums[0].sums.device
    )
    errors = [each.errors for each in scores if each.errors is not None]
    return MethodScores(entry, joined, errors=SamplingErrors(torch.cat([each.sums for each in errors], dim=-1)) if errors else None)
