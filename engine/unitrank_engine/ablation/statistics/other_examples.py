"""Would a ranking beat random orders on other examples of the same kind?

The controls of the verdict exchange the units and keep the test examples. They cannot show a lead
that a few test examples give by chance. This test keeps the units and takes the examples as a
sample. For test example i of a cluster:

- D_i: the mean, over the counts, of F − F with the first units of the ranking replaced
- D_r,i: the same for the random order r
- lead_i = (D_i − mean over r of D_r,i) / s, with s the standard deviation of the controls' D

The mean lead of the clusters is compared with 0 by a one-sided t test, stratified by cluster:
its variance is Σ var(lead) / m, with Σ (m − 1) degrees of freedom, for m test examples.
"""

import numpy as np
from scipy import stats

from unitrank_engine.ablation.statistics.family import FLAT
from unitrank_engine.ablation.statistics.judgement import Tested
from unitrank_engine.ablation.statistics.verdict import MIN_TESTED


def p_other_examples(tested: Tested) -> float | None:
    """Return the p-value of the lead over random orders, with the examples as a sample.

    None where no cluster has two test examples and an order that can be tested.
    """
    lead, variance, freedom = 0.0, 0.0, 0
    for cluster, ranking in tested:
        if cluster.examples < MIN_TESTED or not ranking.ordered or "most" not in ranking.drops:
            continue
        controls = cluster.control_drops(ranking)
        deviation = float(controls.std()) if len(controls) else 0.0
        if deviation <= FLAT * np.abs(controls).max(initial=0.0):
            continue
        leads = (ranking.drops["most"] - cluster.random_drops) / deviation
        lead += float(leads.mean())
        variance += float(leads.var(ddof=1)) / len(leads)
        freedom += len(leads) - 1
    if not freedom:
        return None
    return float(stats.t.sf(lead / variance**0.5, freedom)) if variance else float(lead <= 0)
