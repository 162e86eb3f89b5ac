"""Standard errors of importances whose scores are estimates from a random sample.

Each example's scores are sampled independently, so the variance of a cluster's mean score is the
sum of its scores' variances over m².
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.methods.batch import ScoreVariance
from unitrank_schemas.methods import Statistic


@dataclass(frozen=True)
class SamplingErrors:
    """Sums over the examples of each cluster, for scores s with the variance v.

    `sums`: of each unit Σ v; Σ v² divided by the degrees of freedom of v; and Σ s² · v, which
    serves the statistic `rms`.
    """

    sums: Float[Tensor, "3 clusters units"]

    @classmethod
    def empty(cls, clusters: int, units: int, device: torch.device) -> "SamplingErrors":
        """Return sums over no examples."""
        return cls(torch.zeros(3, clusters, units, dtype=torch.float64, device=device))

    def add(
        self,
        clusters: Int[np.ndarray, " members"],
        examples: Int[np.ndarray, " members"],
        scores: Float[Tensor, "rows units"],
        variance: ScoreVariance,
    ) -> None:
        """Add the members of clusters. `examples`: the row of each member."""
        v = variance.values
        values = torch.stack([v, v.square() / variance.freedom, scores.double().square() * v])
        for cluster in np.unique(clusters).tolist():
            self.sums[:, cluster] += values[:, torch.from_numpy(examples[clusters == cluster])].sum(1)

    def standard_error(self, sums: Sums, statistic: Statistic) -> Float[np.ndarray, "clusters units"]:
        """Return the standard error of each importance; NaN where a score has no variance.

        `sums`: of the scores themselves.
        """
        total, _, weighted = self.sums.cpu().numpy()
        moments = [sums.of_cluster(cluster) for cluster in range(len(total))]
        m = np.array([each.m for each in moments])[:, None]
        if statistic != "rms":
            return np.asarray(np.sqrt(total) / m)
        # The first-order change of a root: the change of s², divided by 2 · rms.
        rms = np.array([each.importance("rms") for each in moments])
        return np.asarray(np.divide(np.sqrt(weighted), m * rms, out=np.zeros_like(rms), where=rms > 0))

    def half_widths(self, sums: Sums, statistic: Statistic, cluster: int, level: float) -> Float[np.ndarray, " units"]:
        """Return the half width of the interval of each importance.

        The degrees of freedom are those of Welch and Satterthwaite, because examples differ in
        their variances.

        `level`: confidence level.
        """
        total, over_freedom, _ = self.sums[:, cluster].cpu().numpy()
        error = self.standard_error(sums, statistic)[cluster]
        freedom = np.divide(total**2, over_freedom, out=np.ones_like(total), where=over_freedom > 0)
        return np.asarray(stats.t.ppf((1 + level) / 2, freedom) * error)
