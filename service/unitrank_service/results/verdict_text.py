"""A result in words: the verdict, what casts doubt on it, its warnings, and what the columns of its leaderboard mean."""

from typing import Any

from unitrank_schemas.jobs.ablation import Ablation, Fidelity
from unitrank_schemas.results import Leader, Ranking, Result, Warn

CHOSEN = {
    "delta": "those that differ most from the baseline, are",
    "top": "those that the ranking itself has on top, are",
    "random": "drawn by lot, are",
}
"""What `fidelity` replaces → in words."""
CHANCE = {"better_than_random": "better", "worse_than_random": "worse"}
"""What the verdict on noise can only be by chance → in words."""


def verdict_in_words(result: Result) -> list[str]:
    """What a reader should take away, the most important first."""
    rankings = {ranking.id: ranking for ranking in result.rankings}
    if not tested(result):
        lead = "The rankings were not put to the test: the job asked for no ablation. Whether they are any good is not known."
        return [lead, *doubts(result)]
    noise = [leader for leader in result.leaderboard if rankings[leader.ranking].method["name"] == "random"]
    leaders = [leader for leader in result.leaderboard if leader not in noise] or result.leaderboard
    first = leaders[0]
    better = [leader for leader in leaders if leader.verdict == "better_than_random"]
    words = [_of_the_first(result, first, rankings[first.ranking]), *doubts(result)]
    others = [leader.ranking for leader in better[1:]]
    if others:
        words.append(f"Better than random too: {', '.join(others)}.")
    useless = [leader.ranking for leader in leaders if leader.verdict == "no_better_than_random"]
    if useless and better:
        words.append(f"Not better than random, and of no use for this question: {', '.join(useless)}.")
    words += [_upside_down(rankings[leader.ranking]) for leader in leaders if leader.verdict == "worse_than_random"]
    words += [_chance(leader, result) for leader in noise if leaders != noise and leader.verdict in CHANCE]
    idle = [
        warning for warning in result.warnings if warning.code == "no_better_than_activity" and warning.ranking == first.ranking
    ]
    if idle:
        where = f"In {len(idle)} of {len(result.clusters)} clusters"
        words.append(f"{where} {first.ranking} is not above the mere knowledge of which units are active.")
    return words


def tested(result: Result) -> bool:
    """Whether the rankings were put to the test."""
    return any(leader.verdict is not None for leader in result.leaderboard)


def doubts(result: Result) -> list[str]:
    """What nobody should miss who reads the verdict."""
    codes = {warning.code for warning in result.warnings}
    sentences = {
        "in_sample": "The rankings were tested on the examples that made them, where even a ranking of noise beats random orders. "
        "Send the job again with split 'half' for a verdict.",
        "verdict_depends_on_fill": "The verdict depends on what replaces a unit: with another fill it is not the same for "
        f"{_with_another_fill(result)}.",
        "last_hidden_layer": f"Behind layer {result.layer.name} the model is linear: every method that uses h − h′ is exact there, "
        "so that a comparison of methods at this layer proves nothing.",
    }
    return [sentence for code, sentence in sentences.items() if code in codes]


def _with_another_fill(result: Result) -> str:
    """The rankings whose verdict would be another one, and where."""
    warnings = [warning for warning in result.warnings if warning.code == "verdict_depends_on_fill"]
    where: dict[str, list[str]] = {}
    for ranking in dict.fromkeys(warning.ranking or "" for warning in warnings):
        clusters = [warning.cluster for warning in warnings if warning.ranking == ranking]
        single = sum(cluster is not None for cluster in clusters)
        where[ranking] = ["over all clusters"] if None in clusters else []
        where[ranking] += (
            [f"in {single} of {len(result.clusters)} by {'itself' if single == 1 else 'themselves'}"] if single else []
        )
    return ", ".join(f"{ranking} ({' and '.join(places)})" for ranking, places in where.items())


def _upside_down(ranking: Ranking) -> str:
    p = f" (p = {number(ranking.overall.p_worse)})" if ranking.overall and ranking.overall.p_worse is not None else ""
    return (
        f"Worse than random: {ranking.id}{p}. The units that it ranks highest matter less than units drawn by lot: the ranking, or "
        "its sign, is upside down."
    )


def _chance(leader: Leader, result: Result) -> str:
    """Of a ranking of noise that the verdict errs about."""
    error = 1 - Ablation.model_validate(result.provenance.options.get("ablation") or {}).level
    share = f"{100 * error:.3g} % of all rankings of noise"
    return (
        f"{leader.ranking}, which is noise, came out {CHANCE[leader.verdict or '']} than random: by chance, as {share} do. "
        "It says how far the other verdicts may be trusted."
    )


def _of_the_first(result: Result, first: Leader, ranking: Ranking) -> str:
    p = f" (p = {number(ranking.overall.p_value)})" if ranking.overall and ranking.overall.p_value is not None else ""
    units = "channels" if result.layer.units == "channel" else "units"
    if first.verdict == "better_than_random":
        they = f"the {units} of layer {result.layer.name} that {first.ranking} ranks highest"
        in_sample = any(warning.code == "in_sample" for warning in result.warnings)
        lead = f"On the examples that made the ranking, {they} matter{p}; this proves nothing." if in_sample else ""
        return (
            f"{lead or f'Yes: {they} do matter{p}.'} Replaced in its order, they "
            f"take the score down faster than random orders do, in {first.better_than_random} of {first.of} clusters by themselves."
        )
    if first.verdict == "undecided":
        return "Undecided: the test cannot tell, with so few random orders, examples or units, whether any ranking beats chance."
    answer = f"No: no ranking finds {units} of layer {result.layer.name} whose loss costs more than that of random ones{p}."
    return f"{answer} None of them should be relied on."


def prediction_error(result: Result) -> str | None:
    """What the column of that name holds; None where the job asked for no fidelity."""
    options = result.provenance.options.get("fidelity", {})
    errors = errors_of_nothing(result)
    if options is None or not errors:
        return None
    how = Fidelity.model_validate(options)
    nothing = f"; whoever predicts no change has {errors[0]}" if len(set(errors)) == 1 else ""
    return (
        f"Prediction error: of the sum of scores against the change of the score when {100 * how.fraction:.4g} % of the units, "
        f"{CHOSEN[how.select]} replaced{nothing}."
    )


def errors_of_nothing(result: Result) -> list[str]:
    """The error of predicting no change, of each ranking that has one."""
    return [number(each.fidelity.mae_of_zero) for each in result.rankings if each.fidelity]


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def alike(warnings: list[Warn]) -> list[dict[str, Any]]:
    """One entry a code and ranking: in words, with the clusters it is about and the first one's detail."""
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
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?', '…')) else '.'}"
