"""A result in words: the verdict, reasons to doubt it, its warnings, and the prediction error."""

from typing import Any

from unitrank_schemas.jobs.ablation import Ablation, Fidelity
from unitrank_schemas.results import Leader, Ranking, Result, Warn

CHOSEN = {
    "delta": "those that differ most from the baseline",
    "top": "those that the ranking itself puts first",
    "random": "chosen at random",
}
"""Option `select` of `fidelity` → the replaced units in words."""
CHANCE = {"better_than_random": "passed the test", "worse_than_random": "came out worse than random"}
"""Verdict on a ranking of noise, which is always wrong → in words."""


def verdict_in_words(result: Result) -> list[str]:
    """Return the verdict as sentences, the most important one first."""
    rankings = {ranking.id: ranking for ranking in result.rankings}
    if not tested(result):
        lead = "The rankings were not tested, because the job has no ablation. They may be no better than random."
        return [lead, *doubts(result)]
    noise = [leader for leader in result.leaderboard if rankings[leader.ranking].method["name"] == "random"]
    leaders = [leader for leader in result.leaderboard if leader not in noise] or result.leaderboard
    first = leaders[0]
    better = [leader for leader in leaders if leader.verdict == "better_than_random"]
    sentences = [_lead(result, first, rankings[first.ranking]), *doubts(result)]
    others = [leader.ranking for leader in better[1:]]
    if others:
        sentences.append(f"Also better than random: {', '.join(others)}.")
    useless = [leader.ranking for leader in leaders if leader.verdict == "no_better_than_random"]
    if useless and better:
        sentences.append(f"No better than random, so do not rely on: {', '.join(useless)}.")
    sentences += [_worse(rankings[leader.ranking]) for leader in leaders if leader.verdict == "worse_than_random"]
    sentences += [_chance(leader, result) for leader in noise if leaders != noise and leader.verdict in CHANCE]
    like_activity = [
        warning for warning in result.warnings if warning.code == "no_better_than_activity" and warning.ranking == first.ranking
    ]
    if like_activity:
        clusters = _of_clusters(len(like_activity), len(result.clusters))
        sentences.append(f"{first.ranking} is no better than a ranking of the units by activity, {clusters}.")
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
        "The rankings were tested on the examples that made them. There even a ranking of noise beats random orders. "
        "Submit the job again with split 'half' for a verdict."
    )


def _other_fill(result: Result) -> str:
    ablation = _ablation(result)
    return (
        f"Caution: with the replacement value '{ablation.check_fill}' instead of '{ablation.fill}' the verdict changes for: "
        f"{_changed_verdicts(result)}."
    )


def _last_hidden_layer(result: Result) -> str:
    return (
        f"After layer {result.layer.name} the model is linear. Every method that uses h − h′ is exact there, "
        "so a comparison of methods at this layer proves nothing."
    )


DOUBTS = {
    "in_sample": _in_sample,
    "verdict_depends_on_fill": _other_fill,
    "last_hidden_layer": _last_hidden_layer,
}
"""Code of a warning → the function that makes its sentence, in the order of the report."""


def _ablation(result: Result) -> Ablation:
    """The options of the job's ablation."""
    return Ablation.model_validate(result.provenance.options.get("ablation") or {})


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


def _worse(ranking: Ranking) -> str:
    """The sentence about a ranking that is worse than random."""
    p = f" (p = {number(ranking.overall.p_worse)})" if ranking.overall and ranking.overall.p_worse is not None else ""
    return (
        f"Worse than random: {ranking.id}{p}. The units that it ranks highest matter less than random units. "
        "The order of the ranking, or the sign of its scores, may be reversed."
    )


def _chance(leader: Leader, result: Result) -> str:
    """The sentence about a ranking of noise whose verdict is wrong."""
    share = f"{100 * (1 - _ablation(result).level):.3g} %"
    return (
        f"The control ranking {leader.ranking} (pure noise) {CHANCE[leader.verdict or '']}, so treat the other verdicts with care. "
        f"By chance this happens to {share} of all rankings of noise."
    )


def _lead(result: Result, first: Leader, ranking: Ranking) -> str:
    """The first sentences of the verdict. `first`: the leaderboard's first line without noise."""
    p = f" (p = {number(ranking.overall.p_value)})" if ranking.overall and ranking.overall.p_value is not None else ""
    units = "channels" if result.layer.units == "channel" else "units"
    if first.verdict == "better_than_random":
        top_units = f"the {units} of layer {result.layer.name} that {first.ranking} ranks highest"
        in_sample = any(warning.code == "in_sample" for warning in result.warnings)
        lead = (
            f"On the examples that made the ranking, {top_units} matter{p}; this proves nothing."
            if in_sample
            else f"Yes: {top_units} do matter{p}."
        )
        clusters = _of_clusters(first.better_than_random, first.of)
        return f"{lead} Replacing them in this order lowers the score faster than random orders do, {clusters}."
    if first.verdict == "undecided":
        return (
            "Undecided: the test has too few random orders, examples or units to show whether a ranking is better than random. "
            "Submit the job again with more of them."
        )
    return (
        f"No: no ranking finds {units} of layer {result.layer.name} whose replacement lowers the score more than "
        f"replacing random {units}{p}. Do not rely on these rankings."
    )


def prediction_error(result: Result) -> str | None:
    """Return the explanation of the column "Prediction error"; None if the job has no fidelity."""
    options = result.provenance.options.get("fidelity", {})
    errors = errors_of_no_change(result)
    if options is None or not errors:
        return None
    fidelity = Fidelity.model_validate(options)
    reference = f" Always predicting no change gives {errors[0]}." if len(set(errors)) == 1 else ""
    return (
        f"Prediction error: mean |sum of scores − real change of the score| when {100 * fidelity.fraction:.4g} % of the units, "
        f"{CHOSEN[fidelity.select]}, are replaced.{reference}"
    )


def errors_of_no_change(result: Result) -> list[str]:
    """Return the error of predicting no change, for each ranking with fidelity."""
    return [number(each.fidelity.mae_of_zero) for each in result.rankings if each.fidelity]


def number(value: float | None) -> str:
    """Return the value with four significant digits, or a dash for None."""
    return "–" if value is None else f"{value:.4g}"


def group_warnings(warnings: list[Warn]) -> list[dict[str, Any]]:
    """Group the warnings by code and ranking.

    An entry has the clusters of its warnings, and the detail of the first one. `overall`: whether
    the entry holds for all clusters together too.
    """
    groups: dict[tuple[str, str | None], list[Warn]] = {}
    for warning in warnings:
        groups.setdefault((warning.code, warning.ranking), []).append(warning)
    return [
        {
            "title": code.replace("_", " ").capitalize(),
            "code": code,
            "ranking": ranking,
            "clusters": [each.cluster for each in group if each.cluster is not None],
            "overall": len(group) > 1 and any(each.cluster is None for each in group),
            "detail": group[0].detail,
        }
        for (code, ranking), group in groups.items()
    ]


def sentence(text: str) -> str:
    """Return the text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?', '…')) else '.'}"
