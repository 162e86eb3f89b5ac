"""Relations of given scores to the computed rankings: equal, scaled, reversed, of fewer examples.

With given importances a and those of a computed ranking b, e(s) = max |a − s·b| / max |a| over all
clusters and units. The relation is the first that holds with any computed ranking:

- `zero`: a = 0
- `equal`: e(1) ≤ 1e-3
- `factor`, `reversed`: e(s) ≤ 1e-3 for the least-squares s, which is above or below 0
- `other_statistic`: a is another statistic of the ranking's scores, with one s for each cluster
- `first_examples`: a is the ranking's statistic over the first m examples, with one s for each
  cluster; m is less than all
- `none`
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unitrank_engine.attribution.scores import Attribution, score_key
from unitrank_engine.job.context import JobContext
from unitrank_engine.result.first_examples import ExampleOrder, FirstExamples, first_examples
from unitrank_engine.result.matching import TOLERANCE, Fit, difference, fit_by_cluster, fit_together
from unitrank_schemas import results as schema
from unitrank_schemas.methods import MethodBase, Statistic
from unitrank_schemas.results import Relation

ORDER: tuple[Relation, ...] = ("zero", "equal", "factor", "reversed", "other_statistic", "first_examples", "none")
"""The relations from the strongest to the weakest."""
MEANINGS: Mapping[Statistic, str] = {"mean": "mean", "mean_abs": "mean of |score|", "rms": "root mean square"}
SIMILAR = 0.5
"""Smallest |cosine| for which unrelated scores name the most similar ranking."""


@dataclass(frozen=True)
class Computed:
    """A computed ranking, with which given scores are compared.

    `importances`: for each statistic, the importance over all examples, `[clusters, units]`.
    `projections`: of the values that the ranking's own statistic averages, one row per example.
    """

    id: str
    statistic: Statistic
    importances: Mapping[Statistic, Float[np.ndarray, "clusters units"]]
    projections: Float[np.ndarray, "examples 16"]

    @property
    def importance(self) -> Float[np.ndarray, "clusters units"]:
        """The importance of the ranking's own statistic."""
        return self.importances[self.statistic]


@dataclass(frozen=True)
class _Match:
    relation: Relation
    ranking: str
    error: float
    detail: str


def relations(context: JobContext, entries: Sequence[MethodBase], attribution: Attribution) -> list[schema.GivenRelation]:
    """Return the relation of each given ranking to the computed ones."""
    given = [entry for entry in entries if entry.name == "given"]
    if not given:
        return []
    order, clusters = ExampleOrder.of(context, attribution.membership), len(context.clusters)

    def importance(entry: MethodBase, statistic: Statistic) -> Float[np.ndarray, "clusters units"]:
        sums = attribution.by_key[score_key(entry)].sums
        return np.stack([sums.of_cluster(cluster).importance(statistic) for cluster in range(clusters)])

    def computed(entry: MethodBase) -> Computed:
        projections = attribution.by_key[score_key(entry)].projections[entry.statistic]
        return Computed(str(entry.id), entry.statistic, {each: importance(entry, each) for each in MEANINGS}, projections)

    others = [entry for entry in entries if entry.name != "given"]
    return [relation_of(str(entry.id), importance(entry, entry.statistic), map(computed, others), order) for entry in given]


def relation_of(
    id: str, given: Float[np.ndarray, "clusters units"], rankings: Iterable[Computed], order: ExampleOrder
) -> schema.GivenRelation:
    """Return the first relation of given scores that holds with any of the computed rankings.

    `id`: id of the given ranking.
    """
    if not given.any():
        return schema.GivenRelation(ranking=id, relation="zero", detail="all scores are zero")
    matches: list[_Match] = []
    similar: list[tuple[float, str]] = []
    for computed in rankings:
        matches += _matches(given, computed, order)
        similar.append((_cosine(given, computed.importance), computed.id))
    if not matches:
        return schema.GivenRelation(ranking=id, relation="none", detail=_unrelated(similar, order))
    matches.sort(key=lambda match: (ORDER.index(match.relation), match.error))
    first, *others = matches
    equals = [f"`{match.ranking}`" for match in others if match.relation == first.relation]
    also = f"; the same holds for {', '.join(dict.fromkeys(equals))}" if equals else ""
    return schema.GivenRelation(ranking=id, nearest=first.ranking, relation=first.relation, detail=first.detail + also)


def _matches(a: Float[np.ndarray, "clusters units"], computed: Computed, order: ExampleOrder) -> Iterator[_Match]:
    """Yield the strongest relation with one ranking."""
    name, b = f"`{computed.id}`", computed.importance
    error, together = difference(a, b), fit_together(a, b)
    if error <= TOLERANCE:
        yield _Match("equal", computed.id, error, f"equal to {name} ({_rest(error)})")
    elif together.holds():
        factor = float(together.factors[0])
        detail = f"{name} times {factor:.6g} ({_rest(together.error)}){_reason([factor], order)}"
        yield _Match("factor" if factor > 0 else "reversed", computed.id, together.error, detail)
    elif statistic := _other_statistic(a, computed, order):
        yield statistic
    else:
        first = first_examples(a, computed.projections, order, computed.statistic)
        if first.holds:
            yield _Match("first_examples", computed.id, first.fit.error, _of_first(computed, first))


def _other_statistic(a: Float[np.ndarray, "clusters units"], computed: Computed, order: ExampleOrder) -> _Match | None:
    """Return the match with another statistic, or with another factor in each cluster."""
    fits = {statistic: fit_by_cluster(a, b) for statistic, b in computed.importances.items()}
    statistic, fit = min(fits.items(), key=lambda each: each[1].error)
    if not fit.holds():
        return None
    name, own = MEANINGS[statistic], MEANINGS[computed.statistic]
    instead = "" if statistic == computed.statistic else f", and not the {own}"
    detail = (
        f"the {name} of the scores of `{computed.id}` over each cluster's examples{instead}{_times(fit)} "
        f"({_rest(fit.error)}){_reason(fit.factors, order)}"
    )
    return _Match("other_statistic", computed.id, fit.error, detail)


def _of_first(computed: Computed, first: FirstExamples) -> str:
    each = " of each cluster" if first.of_each_cluster else ""
    return (
        f"the {MEANINGS[computed.statistic]} of the scores of `{computed.id}` over only the first {first.count} of {first.of} "
        f"examples{each}{_times(first.fit)} ({_rest(first.fit.error)})"
    )


def _unrelated(similar: Sequence[tuple[float, str]], order: ExampleOrder) -> str:
    tried = "first examples" if order.projected == order.count else f"first {order.projected:,} examples or fewer"
    detail = f"not equal to a computed ranking, also not up to a factor, with another statistic or over the {tried}"
    cosine, id = max(similar, key=lambda each: abs(each[0]), default=(0.0, ""))
    return f"{detail}; the most similar is `{id}` (cosine {cosine:.2f})" if abs(cosine) >= SIMILAR else detail


def _rest(error: float) -> str:
    text = f"{error:.0e}".replace("e-0", "e-") if error else "0"
    return f"largest difference {text} of the largest score"


def _times(fit: Fit) -> str:
    """Return the factors as the end of a sentence; empty for 1."""
    factors = fit.factors[~np.isnan(fit.factors)]
    low, high = float(factors.min()), float(factors.max())
    if high - low <= TOLERANCE * max(abs(low), abs(high)):
        factor = float(np.mean(factors))
        return "" if abs(factor - 1) <= TOLERANCE else f", times {factor:.6g}"
    return f", times a factor of each cluster, from {low:.6g} to {high:.6g}"


def _reason(factors: Sequence[float] | Float[np.ndarray, " clusters"], order: ExampleOrder) -> str:
    """Return a likely reason of the factors of all clusters, with a colon before it."""
    sizes = np.array(order.sizes, float)
    signed = np.broadcast_to(np.asarray(factors, float), sizes.shape)
    counted = ~np.isnan(signed)
    size, factor = sizes[counted], np.abs(signed[counted])
    reversed_ = "the sign is reversed" if (signed[counted] < 0).all() else ""
    summed = "the sum over the examples instead of the mean" if np.allclose(factor, size, rtol=TOLERANCE) and size.max() > 1 else ""
    twice = "divided by the number of examples twice" if np.allclose(factor * size, 1, rtol=TOLERANCE) and size.max() > 1 else ""
    reasons = [reason for reason in (reversed_, summed, twice) if reason]
    return f": {', and '.join(reasons)}" if reasons else ""


def _cosine(a: Float[np.ndarray, "clusters units"], b: Float[np.ndarray, "clusters units"]) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / lengths if lengths else 0.0
