"""The outcome of a job: what was computed for its target, or for each explained class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unitrank_engine.ablation.exact.result import ExactResult
from unitrank_engine.ablation.study import RankingStudy, StudyOutcome
from unitrank_engine.attribution.scores import Attribution, MethodScores, score_key
from unitrank_engine.attribution.statistics import Moments
from unitrank_engine.job.context import JobContext
from unitrank_schemas import results as schema
from unitrank_schemas.methods import MethodBase


@dataclass(frozen=True)
class TargetOutcome:
    """Everything that was computed for one target of a job."""

    context: JobContext
    """The context of the job, or of the job that explains this class alone."""
    entries: list[MethodBase]
    """The request's methods, in its order."""
    attribution: Attribution
    study: StudyOutcome | None
    """None without an ablation."""
    exact: Mapping[str, ExactResult]
    """Ranking's id → its exact tests; empty without an ablation."""
    weights_matter: Mapping[str, float | None]
    """Ranking's id → `weights_matter`; empty where the request does not ask for it."""
    removal_steps: Mapping[str, np.ndarray]
    """Ranking's id → the steps at which `least` replaces units by zeros, if it does."""
    fidelity: Mapping[str, schema.FidelityResult]
    """Ranking's id → its fidelity; empty where the request has none."""

    def study_of(self, entry: MethodBase) -> RankingStudy | None:
        """Return the study of a method's ranking; None without an ablation."""
        return self.study.rankings[str(entry.id)] if self.study else None

    def scores(self, entry: MethodBase) -> MethodScores:
        """Return the scores of a method."""
        return self.attribution.by_key[score_key(entry)]

    def moments(self, entry: MethodBase, cluster: int) -> Moments:
        """Return the sums of a method's scores over all examples of a cluster."""
        return self.scores(entry).sums.of_cluster(cluster)

    def relative_gaps(self, entry: MethodBase, cluster: int) -> tuple[float, float]:
        """Return the relative gap and the hidden one of a cluster's paths; 0 without a path."""
        gaps = self.scores(entry).path_gaps
        return (0.0, 0.0) if gaps is None else gaps.relative(cluster)

    def examples(self, cluster: int) -> int:
        """Return the number of the cluster's examples."""
        return len(self.context.clusters[cluster].rows)


@dataclass(frozen=True)
class JobOutcome:
    """Everything that was computed for a job."""

    context: JobContext
    targets: list[TargetOutcome]
    """One for each explained class, or the only one."""
    began: float
    """The job's start on the monotonic clock, in seconds."""
    reused: list[str]
    """Names of the results that earlier jobs left."""

    @property
    def each_class(self) -> bool:
        """Whether every class is explained."""
        return self.targets[0].context.target_class is not None
