"""The drops of single test examples, from which comparisons and specificity are computed."""

from unitrank_engine.ablation.statistics.comparisons import ClusterDrops, RankingDrops
from unitrank_engine.ablation.statistics.judgement import Tested
from unitrank_engine.ablation.statistics.specificity import ClusterCross
from unitrank_schemas.results import Verdict


def ranking_drops(tested: Tested, *, ranking: str, method: str, target_class: int | None, verdict: Verdict) -> RankingDrops:
    """Return the drops of one ranking in all clusters.

    `tested`: must have the order `most`.
    """
    clusters = [
        ClusterDrops(
            total=cluster.area_total,
            all_replaced=cluster.changes,
            by_example=each.drops["most"],
            loss_of_keeping=each.losses,
            controls=cluster.control_drops(each),
        )
        for cluster, each in tested
    ]
    return RankingDrops(id=ranking, method=method, target_class=target_class, verdict=verdict, clusters=clusters)


def cluster_crosses(tested: Tested, names: list[str]) -> list[ClusterCross]:
    """Return the drops of all clusters' orders on each cluster; empty where they were not tested.

    `names`: the clusters' names.
    """
    return [
        ClusterCross(
            name=name,
            total=cluster.area_total,
            all_replaced=cluster.changes,
            by_order=each.others_drops,
        )
        for name, (cluster, each) in zip(names, tested, strict=True)
        if len(each.others_drops)
    ]
