"""The verdict of a result in sentences."""

from unitrank_schemas.leading import leading
from unitrank_schemas.result_text import ablation_of, number, sentence
from unitrank_schemas.results import Leader, Ranking, Result, place_in_words, units_noun
from unitrank_schemas.verdict_strength import strength

CHANCE = {"better_than_random": "passed the test", "worse_than_random": "came out worse than random"}
"""Verdict on a ranking of noise, which is always wrong → in words."""


def verdict_in_words(result: Result) -> list[str]:
    """Return the verdict as sentences.

    The first two say whether one can rely on the best ranking.
    """
    rankings = {ranking.id: ranking for ranking in result.rankings}
    if not tested(result):
        lead = "The rankings were not tested, because the job has no ablation. They may be no better than random."
        return [lead, *doubts(result)]
    noise = [leader for leader in result.leaderboard if rankings[leader.ranking].method["name"] == "random"]
    leaders = [leader for leader in result.leaderboard if leader not in noise] or result.leaderboard
    first = next(leader for leader in leaders if leader.ranking == leading(result).id)
    better = [leader for leader in leaders if leader.verdict == "better_than_random"]
    others = [leader.ranking for leader in better if leader is not first]
    lead = _lead(result, first, rankings[first.ranking], others)
    sentences = [lead, *strength(result, rankings[first.ranking]), *doubts(result)]
    if others:
        sentences.append(f"{'Also better' if first in better else 'Better'} than random: {', '.join(others)}.")
    if tied := [name for name in first.ties_with if first in better and any(leader.ranking == name for leader in better)]:
        sentences.append(f"The test cannot tell {first.ranking} from {', '.join(tied)}: their areas differ by no more than noise.")
    not_shown = [leader.ranking for leader in leaders if leader.verdict == "no_better_than_random" and leader is not first]
    if not_shown and first in better:
        sentences.append(f"Not shown to be better than random, so do not rely on: {', '.join(not_shown)}.")
    sentences += [_worse(rankings[leader.ranking], result) for leader in leaders if leader.verdict == "worse_than_random"]
    sentences += [_chance(leader, result) for leader in noise if leaders != noise and leader.verdict in CHANCE]
    return sentences


def tested(result: Result) -> bool:
    """Whether the job tested its rankings by ablation."""
    return any(leader.verdict is not None for leader in result.leaderboard)


def doubts(result: Result) -> list[str]:
    """Return the sentences that a reader of the verdict must also read."""
    codes = {warning.code for warning in result.warnings}
    return [sentence_of(result) for code, sentence_of in DOUBTS.items() if code in codes]


def _in_sample(result: Result) -> str:
    return (
        "The rankings were tested on the examples that made them. On such examples even a random ranking beats other random "
        "orders. Submit the job again with split 'half' for a verdict."
    )


def _other_fill(result: Result) -> str:
    ablation = ablation_of(result)
    return (
        f"Caution: with the replacement value '{ablation.check_fill}' instead of '{ablation.fill}' the verdict changes for: "
        f"{_changed_verdicts(result)}."
    )


def _last_hidden_layer(result: Result) -> str:
    return (
        f"After layer {result.layer.name} the model is linear. Every method that uses the difference from the baseline (h − h′) "
        "is exact there, so a comparison of methods at this layer proves nothing."
    )


DOUBTS = {
    "in_sample": _in_sample,
    "verdict_depends_on_fill": _other_fill,
    "last_hidden_layer": _last_hidden_layer,
}
"""Code of a warning → the function that makes its sentence, in the order of the report."""


def _of_clusters(count: int, total: int) -> str:
    """`count` of `total` clusters in words."""
    if total == 1:
        return "in the only cluster" if count else "but not in the only cluster"
    share = f"each of the {total}" if count == total else f"{count} of {total}"
    return f"in {share} clusters tested separately"


def _changed_verdicts(result: Result) -> str:
    """The rankings whose verdict changes with the other fill, and the clusters where it changes."""
    warnings = [warning for warning in result.warnings if warning.code == "verdict_depends_on_fill"]
    places: dict[str, list[str]] = {}
    for ranking in dict.fromkeys(warning.ranking or "" for warning in warnings):
        clusters = [warning.cluster for warning in warnings if warning.ranking == ranking]
        count = sum(cluster is not None for cluster in clusters)
        places[ranking] = ["over all clusters"] if None in clusters else []
        places[ranking] += [_of_clusters(count, len(result.clusters))] if count else []
    return ", ".join(f"{ranking} ({' and '.join(where)})" for ranking, where in places.items())


def _worse(ranking: Ranking, result: Result) -> str:
    """The sentence about a ranking that is worse than random."""
    p = _p(ranking.overall.p_family_worse or ranking.overall.p_worse) if ranking.overall else ""
    reversed_order = next(
        (warning.detail for warning in result.warnings if warning.code == "may_be_reversed" and warning.ranking == ranking.id),
        "the order of the ranking, or the sign of its scores, may be reversed",
    )
    return (
        f"Worse than random: {ranking.id}{p}. The units that it ranks highest matter less than units drawn at random. "
        f"{sentence(reversed_order)}"
    )


def _p(value: float | None) -> str:
    return "" if value is None else f" (p = {number(value)})"


def _chance(leader: Leader, result: Result) -> str:
    """The sentence about a ranking of noise whose verdict is wrong."""
    share = f"{100 * (1 - ablation_of(result).level):.3g} %"
    return (
        f"The control ranking {leader.ranking} (pure noise) {CHANCE[leader.verdict or '']}, so treat the other verdicts with care. "
        f"By chance this happens to {share} of all rankings of noise."
    )


def _lead(result: Result, first: Leader, ranking: Ranking, others: list[str]) -> str:
    """The first sentence of the verdict.

    `first`: the leaderboard's best line that may lead.
    `others`: the other rankings that are better than random.
    """
    if first.verdict == "better_than_random":
        return _better(result, first, ranking)
    if first.verdict == "undecided":
        return f"Undecided: {why_undecided(result, ranking.id)}"
    p, units = _p(ranking.overall.deciding_p if ranking.overall else None), _units(result)
    if others:
        return (
            f"Not shown for {first.ranking}: replacing the {units} of {place_in_words(result.layer)} that it ranks highest lowers "
            f"the score no more than replacing {units} drawn at random{p}. Do not rely on this ranking."
        )
    return (
        f"Not shown: no ranking finds {units} of {place_in_words(result.layer)} whose replacement lowers the score more than "
        f"replacing {units} drawn at random{p}. Do not rely on these rankings."
    )


def _better(result: Result, first: Leader, ranking: Ranking) -> str:
    """The first sentence where the best ranking is better than random."""
    p, units = _p(ranking.overall.deciding_p if ranking.overall else None), _units(result)
    top_units = f"the {units} of {place_in_words(result.layer)} that {first.ranking} ranks highest"
    clusters = _of_clusters(first.better_than_random, first.of)
    if any(warning.code == "in_sample" for warning in result.warnings):
        return (
            f"On the examples that made the ranking, {top_units} matter{p}; this proves nothing. Replacing them in this order "
            f"lowers the score faster than random orders do, {clusters}."
        )
    if any(warning.code == "in_sample_unknown" and warning.ranking == ranking.id for warning in result.warnings):
        return (
            f"Perhaps: {top_units} matter more than {units} drawn at random{p}, but the job does not say which examples made the "
            f"scores. If the test examples made them, this proves nothing. Replacing the {units} in this order lowers the score "
            f"faster, {clusters}."
        )
    return (
        f"Yes: {top_units} matter more than {units} drawn at random{p}. Replacing them in this order lowers the score faster, "
        f"on examples that the ranking did not see, {clusters}."
    )


def why_undecided(result: Result, ranking: str) -> str:
    """Return the sentence that says why the test cannot decide, and what to change."""
    reason = next(
        (warning.detail for warning in result.warnings if warning.code == "undecided" and warning.ranking in (None, ranking)),
        "the test has too few random orders, examples or units; submit the job again with more of them",
    )
    return sentence(reason.removeprefix("the verdict is undecided: "))


def _units(result: Result) -> str:
    return units_noun(result.layer)
