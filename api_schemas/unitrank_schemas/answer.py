"""The answer of a job for a reader without statistics: a light, the reason, and the next step."""

from dataclasses import dataclass
from typing import Literal

from unitrank_schemas.leading import leading
from unitrank_schemas.result_text import sentence
from unitrank_schemas.results import Ranking, Result, units_noun
from unitrank_schemas.units_for_90 import median_units_for_90
from unitrank_schemas.verdict_strength import DOUBT_WORDS, checks_made
from unitrank_schemas.verdict_text import tested, why_undecided

Light = Literal["green", "amber", "red", "grey"]


@dataclass(frozen=True)
class Answer:
    """The answer to `question`.

    `light`: green: rely on it; amber: with care; red: do not rely on it; grey: not known.
    `word`: the same as a word. `steps`: what to do next. `ranking`: the ranking that it is about;
    "" if no ranking was tested.
    """

    light: Light
    ranking: str
    question: str
    word: str
    reason: str
    steps: list[str]


def answer_of(result: Result) -> Answer:
    """Return the answer about the ranking that the verdict names first."""
    question = f"Can I rely on this list of the {units_noun(result.layer)} that matter?"
    if not tested(result):
        reason = "The job did not test its lists. They may be no better than a list in random order."
        step = "Submit the job again with its test: leave the field ablation at its default."
        return Answer("grey", "", question, "Not tested", reason, [step])
    ranking = leading(result)
    verdict = ranking.overall.verdict if ranking.overall else "undecided"
    light, word, reason = ANSWERS[_case(result, ranking)]
    return Answer(light, ranking.id, question, word, reason + _doubts(ranking), STEPS[verdict](result, ranking))


ANSWERS: dict[str, tuple[Light, str, str]] = {
    "robust": (
        "green",
        "Yes",
        "The units were replaced in the order of the list, on examples that the list did not see. The score fell faster than in "
        "random orders, and the further checks agree.",
    ),
    "unchecked": (
        "green",
        "Yes",
        "The units were replaced in the order of the list, on examples that the list did not see. The score fell faster than in "
        "random orders. No further check was made.",
    ),
    "fragile": (
        "amber",
        "Yes, with care",
        "The score fell faster than in random orders, but not everything agrees.",
    ),
    "in_sample": (
        "amber",
        "Not shown",
        "The list was tested on the examples that made it, or may have been. On such examples even a random list passes.",
    ),
    "no_better_than_random": (
        "red",
        "No",
        "Replacing the units in the order of the list lowered the score no faster than random orders did.",
    ),
    "worse_than_random": (
        "red",
        "No",
        "Random orders lowered the score faster than the order of the list did.",
    ),
    "undecided": ("grey", "Not known", "The test is too small to decide."),
}
"""Case → light, word and reason."""


def _case(result: Result, ranking: Ranking) -> str:
    overall = ranking.overall
    if overall is None or overall.verdict != "better_than_random":
        return overall.verdict if overall else "undecided"
    codes = {warning.code for warning in result.warnings if warning.ranking in (None, ranking.id)}
    if codes & {"in_sample", "in_sample_unknown"}:
        return "in_sample"
    if not overall.robust:
        return "fragile"
    return "robust" if checks_made(result, ranking) else "unchecked"


def _doubts(ranking: Ranking) -> str:
    """The doubts of a better verdict, as sentences."""
    overall = ranking.overall
    if overall is None or overall.verdict != "better_than_random":
        return ""
    return "".join(f" {sentence(DOUBT_WORDS.get(code, code.replace('_', ' ')))}" for code in overall.doubts if code != "in_sample")


def _use(result: Result, ranking: Ranking) -> list[str]:
    """The steps for a list that is better than random."""
    studies = [cluster.ablation for cluster in ranking.clusters.values()]
    needed = median_units_for_90(study.units_for_90 if study else None for study in studies)
    use = f"Use the list of {ranking.id}."
    if needed is not None:
        its = " Its" if len(studies) == 1 else " In at least half of the clusters, its"
        units = "channels" if result.layer.units == "channel" else "units"
        use += f"{its} first {needed} of {result.layer.count} {units} keep 90\u00a0% of the score."
    doubts = ranking.overall.doubts if ranking.overall else []
    return [use, *(REMEDIES[code] for code in doubts if code in REMEDIES)]


REMEDIES = {
    "verdict_depends_on_fill": "Choose the replacement value that fits your question (ablation.fill), and report it.",
    "no_better_than_activity": "Try the simpler list, the order of the units by activity: it does as well here.",
    "not_specific": "Do not call these units the units of one cluster. They matter for the other clusters, too.",
    "weights_hardly_matter": "Ask whether the data alone make this list: a network with shuffled weights gives nearly the same.",
    "few_tests": "Submit the job again with more examples in each cluster.",
    "varies_between_examples": "Submit the job again with more examples in each cluster.",
    "low_accuracy": "Check the labels and preprocess first. If they are right, train the model further, or explain its predictions "
    "(target.class: predicted).",
    "in_sample": "Submit the job again with ablation.split: half.",
    "not_sufficient": "Do not read the list as complete: its first units are needed, but not sufficient.",
}
"""Code of a doubt → what to do about it."""


def _try_others(result: Result, ranking: Ranking) -> list[str]:
    """The steps for a list that is not better than random."""
    better = [leader.ranking for leader in result.leaderboard if leader.verdict == "better_than_random"]
    steps = [f"Use one of the other lists of this job, which passed: {', '.join(better)}."] if better else []
    if len(result.clusters) == 1:
        steps.append("Make a cluster for each label (clusters by label): scores of different labels can cancel.")
    methods = {entry.method["name"] for entry in result.rankings}
    further = [name for name in ("conductance", "exact_ablation") if name not in methods]
    if further:
        steps.append(f"Add the method {' or '.join(further)}.")
    if "given" in methods:
        steps.append("If the scores come from your own code, look for a bug with unitrank check-scores.")
    return steps or [
        "Choose another layer, or a target that is nearer to your question. Perhaps no units of this layer matter more than others."
    ]


def _enlarge(result: Result, ranking: Ranking) -> list[str]:
    """The steps for a test that cannot decide."""
    return [why_undecided(result, ranking.id)]


STEPS = {
    "better_than_random": _use,
    "no_better_than_random": _try_others,
    "worse_than_random": _try_others,
    "undecided": _enlarge,
}
"""Verdict → the function that returns the next steps."""
