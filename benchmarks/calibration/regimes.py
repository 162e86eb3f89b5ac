"""The regimes: networks, data and scores that could make a verdict wrong.

Where a regime says nothing else, a job has 2 clusters of 20 examples, one half of which test. Its
network is `Unequal`, and it has 99 random orders. Its rankings are judged alone. Their scores are
noise that is drawn for each cluster.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.calibration import nets, scores
from benchmarks.calibration.jobs import Data, Setup
from benchmarks.calibration.rates import ALONE, Regime, Share, ahead, doubted, of_orders, specific

BY_CLASS = {"target": {"class": "label"}}
CHANNELS = {**BY_CLASS, "units": "channel"}
KMEANS = {"clusters": {"by": "kmeans", "k": 4, "layer": "act"}}
WITH_KEEP = {"orders": ["most", "keep"]}


def _alone(title: str, *, clusters: int = 2, make: scores.Make = scores.independent, jobs: int = 200, **setup: Any) -> Regime:
    """Any: the fields of a setup."""
    usual: dict[str, Any] = {"data": Data(clusters), "rankings": ALONE}
    return Regime(title, Setup(**usual | setup), make, jobs=jobs)


def _fitted(title: str, *, jobs: int, **setup: Any) -> Regime:
    """The only ranking of each job has the scores of a method. Any: the fields of a setup."""
    usual: dict[str, Any] = {"net": nets.Equal, "data": Data(2)}
    return Regime(title, Setup(**usual | setup), scores.fitted, jobs=jobs)


def _family(count: int) -> Regime:
    return Regime(f"K = {count} rankings in a job", Setup(data=Data(2), rankings=count), alone=False, jobs=250)


def _specificity(title: str, *, clusters: int = 4, make: scores.Make = scores.independent) -> Regime:
    """A network is needed in which each cluster has an area."""
    return _alone(title, net=nets.Weighted, clusters=clusters, make=make, ablation={"specificity": True, "random": 1})


NOISE = {
    "two-classes": _alone("two classes with opposite weights", net=nets.TwoClasses, request=BY_CLASS),
    "two-classes-resample": _alone(
        "two classes with opposite weights, fill `resample`", net=nets.TwoClasses, request=BY_CLASS, ablation={"fill": "resample"}
    ),
    "two-classes-one-order": _alone(
        "two classes with opposite weights, one order in both clusters",
        make=scores.one_order,
        net=nets.TwoClasses,
        request=BY_CLASS,
    ),
    "accuracy": _alone("measure `accuracy`, two classes", net=nets.TwoClasses, request=BY_CLASS, ablation={"measure": "accuracy"}),
    "resample": _alone("fill `resample`", ablation={"fill": "resample"}),
    "mean": _alone("fill `mean`", ablation={"fill": "mean"}),
    "correlated": _alone("correlated units", data=Data(2, factors=4)),
    "channels": _alone("channels of a convolutional network", net=nets.Channels, data=Data(2, 10), request=CHANNELS),
    "kmeans": _alone("clusters from k-means in the ranked layer", data=Data(2, 30), request=KMEANS),
    "one-order": _alone("one order in all clusters, C = 4", clusters=4, make=scores.one_order),
    "ties": _alone("two thirds of the scores are 0", make=scores.tied),
    "fitted": _fitted("scores fitted to noise, all units equal", jobs=1000),
    "dominant": _alone("one dominant unit", net=nets.Dominant),
    "dead": _alone("90 % dead units", data=Data(2, dead=0.9)),
    **{f"tests-{count}": _alone(f"{count} test examples in each cluster", data=Data(2, 2 * count)) for count in (2, 10, 50)},
    "tests-400": _alone("400 test examples, C = 1, one count", data=Data(1, 800), ablation={"fractions": [0.2], "examples": 400}),
    **{f"orders-{count}": _alone(f"R = {count}", ablation={"random": count}) for count in (19, 39, 199)},
    "orders-999": _alone("R = 999, C = 1, two counts", clusters=1, ablation={"fractions": [0.1, 0.3], "random": 999}),
    "clusters-1": Regime("C = 1, K = 1", Setup(data=Data(1)), alone=False, jobs=1000),
    "clusters-10": _alone("C = 10", clusters=10),
    "rankings-1": Regime("K = 1 ranking in a job", Setup(data=Data(2)), alone=False, jobs=1000),
    **{f"rankings-{count}": _family(count) for count in (5, 10)},
    "one-of-five-true": replace(_family(5), title="K = 5 rankings, one of which is true", scores=scores.one_true, true=1),
}
"""Noise: the verdict better is wrong."""

NOT_EXCHANGEABLE = {
    "copies": _fitted("scores fitted to noise, equal units in 4 groups of 8 copies", jobs=400, data=Data(2, factors=4)),
    "pairs": _fitted("scores fitted to noise, equal units in 16 pairs of copies", jobs=400, data=Data(2, factors=16)),
    "in-sample": _fitted("scores fitted to noise, all units equal, `split: none`", jobs=400, ablation={"split": "none"}),
}
"""Noise that the test takes for a ranking."""

POWER = {
    f"power-{share}-{clusters}": _alone(f"λ = {share}, C = {clusters}", clusters=clusters, make=scores.mixture(share), jobs=jobs)
    for clusters, jobs in ((1, 100), (10, 30))
    for share in (0.05, 0.1, 0.2, 1.0)
}
"""Scores λ · true + (1 − λ) · noise: the verdict better is right."""


TRUE = {
    f"true-{name}": _alone(f"true scores, {title}", make=scores.mixture(1.0), jobs=50, **setup)
    for name, title, setup in (
        ("unequal", "units of unequal effect", {}),
        ("weighted", "a weighted sum", {"net": nets.Weighted}),
        ("correlated", "correlated units", {"data": Data(2, factors=4)}),
        ("tests-5", "5 test examples in each cluster", {"data": Data(2, 10)}),
        ("tests-2", "2 test examples in each cluster", {"data": Data(2, 4)}),
    )
}
"""Scores of a method: the verdict better is right."""


@dataclass(frozen=True)
class Check:
    """Another statement of a result, and how often it is wrong."""

    regime: Regime
    measure: Callable[[Regime, int], dict[str, Share]]


CHECKS = {
    "keep": Check(_alone("one cluster", clusters=1, ablation={"orders": ["most", "least", "keep"]}), of_orders),
    "specific-4": Check(_specificity("specificity, C = 4"), specific),
    "specific-similar": Check(_specificity("specificity, C = 4, similar orders", make=scores.similar_orders), specific),
    "specific-one": Check(_specificity("specificity, C = 4, one order", make=scores.one_order), specific),
    "specific-10": Check(_specificity("specificity, C = 10", clusters=10), specific),
    "ahead-noise": Check(
        replace(_family(2), title="two noise rankings", setup=Setup(nets.Weighted, Data(2), 2, ablation=WITH_KEEP)), ahead
    ),
    "ahead-equal": Check(
        Regime(
            "two equally good rankings",
            Setup(nets.Twins, Data(2), rankings=2, ablation=WITH_KEEP),
            scores.equally_good,
            alone=False,
            jobs=250,
        ),
        ahead,
    ),
    "doubted-copies": Check(NOT_EXCHANGEABLE["copies"], doubted),
    "doubted-pairs": Check(NOT_EXCHANGEABLE["pairs"], doubted),
    "doubted-fitted": Check(NOISE["fitted"], doubted),
    **{f"doubted-{name}": Check(regime, doubted) for name, regime in TRUE.items()},
}
"""Statements beside the verdict, on noise and on true scores."""
