"""Compares scores with the candidates, job by job, until one of them fits."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unitrank.errors import InvalidRequest, JobFailed
from unitrank.results import JobResult
from unitrank.score_checks.candidates import (
    QUICK,
    SLOW,
    STATISTICS,
    Candidate,
    Network,
    Request,
    claimed_class,
    entries,
    variations,
)
from unitrank.score_checks.class_sums import sum_of_classes
from unitrank.score_checks.explanations import ALL_CLASSES, EVALUATION, NOT_BETTER, TRAINING, Explanation, explain
from unitrank.score_checks.score_check import SCORES, ScoreCheck
from unitrank_schemas.results import Relation

Jobs = Generator[Request, JobResult, ScoreCheck]
"""Yields the request of a job, and receives its result or an error of the job."""
SIMILAR = 0.9
"""Smallest |cosine| for which layers of training mode can explain unrelated scores."""


@dataclass(frozen=True)
class Question:
    """The scores, and the request that they claim to answer.

    `request`: the fields of a job without `methods`.
    `network`: None for an unknown layer or output, for which the first job is refused.
    `given`: the entry of `methods` with the scores; its id is `scores`.
    `state_layers`: classes of the network's layers that act differently in training mode, such as
        Dropout; empty if it has none, or the network is not at hand.
    `is_training`: whether the network is in training mode.
    """

    request: Request
    given: Mapping[str, Any]
    network: Network | None
    has_labels: bool
    state_layers: Sequence[str] = ()
    is_training: bool = False


@dataclass(frozen=True)
class _Match:
    candidate: Candidate
    relation: Relation
    method: str | None
    detail: str
    explanation: Explanation

    @property
    def is_correct(self) -> bool:
        return self.relation == "equal" and self.candidate.is_claimed


def investigate(question: Question) -> Jobs:
    """Finds the candidate that the scores are, then tests the scores against random orders."""
    match = yield from _match(question)
    corrected = None if match.relation == "factor" or match.is_correct else match.method
    # Two jobs: in one job, each ranking would be one more test for the other.
    result = yield {**question.request, "methods": [question.given], "fidelity": None}
    corrected_result = None
    if corrected:
        corrected_result = yield {**question.request, "methods": [_entry(corrected)], "fidelity": None}
    request = {**question.request, **match.candidate.changes}
    overall = result.rankings[SCORES].overall
    is_better = overall is None or overall.verdict == "better_than_random"
    return ScoreCheck(
        relation=match.relation,
        method=match.method,
        layer=request["layer"],
        at=request.get("at", "output"),
        target=dict(request.get("target", {})),
        is_correct=match.is_correct,
        detail=match.detail,
        bug=match.explanation.bug,
        advice=NOT_BETTER if match.is_correct and not is_better else match.explanation.advice,
        corrected=corrected,
        result=result,
        corrected_result=corrected_result,
    )


def _match(question: Question) -> Generator[Request, JobResult, _Match]:
    claimed = Candidate()
    first = yield _request(question, claimed, entries(("activation", *QUICK), STATISTICS))
    if match := _related(claimed, first):
        return match
    try:
        result = yield _request(question, claimed, entries(SLOW, STATISTICS))
        if match := _related(claimed, result):
            return match
    except (InvalidRequest, JobFailed):
        # A slow method may not fit the network; the quick ones do.
        pass
    return (yield from _other_candidate(question, first)) or _unrelated(question, first)


def _other_candidate(question: Question, claimed: JobResult) -> Generator[Request, JobResult, _Match | None]:
    """The first match with another place or target; None without one."""
    network = question.network
    assert network is not None
    choice = claimed_class(question.request, network, question.has_labels)
    by_class = {choice: claimed} if isinstance(choice, int) else {}
    for candidate, methods in _rounds(question, network):
        try:
            result = yield _request(question, candidate, methods)
        except (InvalidRequest, JobFailed):
            # The place or the target does not fit the method.
            continue
        if match := _related(candidate, result):
            return match
        if candidate.class_number is not None:
            by_class[candidate.class_number] = result
            if len(by_class) == network.classes and (match := _sum(list(by_class.values()))):
                return match
    return None


def _rounds(question: Question, network: Network) -> Iterator[tuple[Candidate, list[dict[str, str]]]]:
    others = variations(question.request, network, question.has_labels)
    for candidate in others:
        yield candidate, entries(("activation", *QUICK) if candidate.place else QUICK)
    for candidate in others:
        # One job for each class would take too long with the slow methods.
        if candidate.class_number is None:
            yield candidate, entries(SLOW)


def _request(question: Question, candidate: Candidate, methods: list[dict[str, str]]) -> Request:
    return {
        **question.request,
        **candidate.changes,
        "methods": [*methods, question.given],
        "ablation": None,
        "fidelity": None,
    }


def _related(candidate: Candidate, result: JobResult) -> _Match | None:
    """The match with a candidate; None where the scores have no relation to it."""
    (given,) = result.summary.given
    if given.relation == "none":
        return None
    relation: Relation = "other_target" if candidate.has_other_target else given.relation
    return _Match(candidate, relation, given.nearest, f"{given.detail}{candidate.where}", explain(given.relation, candidate))


def _sum(results: Sequence[JobResult]) -> _Match | None:
    """The match with the sum of all classes' scores."""
    total = sum_of_classes(results, SCORES, QUICK)
    if total is None:
        return None
    method, factor = total
    detail = f"the sum of `{method}` over all {len(results)} classes, times {factor:.6g}"
    return _Match(Candidate(class_="all classes"), "other_target", method, detail, ALL_CLASSES)


def _unrelated(question: Question, result: JobResult) -> _Match:
    (given,) = result.summary.given
    similar = [abs(pair.cosine or 0.0) for pair in result.summary.agreement if pair.a == SCORES]
    explanation = explain("none", Candidate())
    if question.state_layers and max(similar, default=0.0) >= SIMILAR:
        layers = " and ".join(question.state_layers)
        text = TRAINING if question.is_training else EVALUATION
        explanation = Explanation(text.bug.format(layers=layers), text.advice)
    return _Match(Candidate(), "none", None, given.detail, explanation)


def _entry(method: str) -> dict[str, str]:
    """The entry of a method whose ranking has this id."""
    name, _, statistic = method.partition(".")
    return entries((name,), (statistic or "mean",))[0]
