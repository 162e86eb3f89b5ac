"""The answer to "is there a bug in my code?": the scores' relation, the likely bug, the verdict."""

from dataclasses import dataclass
from typing import Any

from unitrank.results import JobResult
from unitrank_schemas.results import VERDICT_LABELS, Overall, Relation


@dataclass(frozen=True)
class ScoreCheck:
    """The scores that your own scores are, the likely bug, and the verdict on your scores.

    `unitrank.check_scores` and `Client.check_scores` return it. As a text it has all of this.

    Args:
        relation: `equal`, `factor`, `reversed`, `first_examples`, `other_statistic`,
            `other_target`, `zero` or `none`.
        method: id of the computed ranking that the scores are, such as `gradient.mean_abs`; None
            for `zero` and `none`.
        layer: the layer of these scores, which can differ from the layer that was named.
        at: `output` or `input` of that layer.
        target: the target of these scores, as in a job's request.
        is_correct: whether the scores are equal to those of a method, at the place and for the
            target that were named.
        detail: the relation in words, with the number of examples or the factor.
        bug: the likely bug; empty for equal scores.
        advice: the change that corrects it; for scores without a bug that are not better than
            random, what to try instead.
        corrected: id of the ranking without the bug; None if it is not known, and for scores that
            have the same order.
        result: the test of the scores against random orders.
        corrected_result: the same for the ranking without the bug.

    >>> import torch
    >>> import unitrank
    >>> network = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    >>> x, y = torch.randn(20, 4), torch.arange(20) % 2
    >>> h = network[1](network[0](x)).detach().requires_grad_()
    >>> network[2](h).softmax(1)[range(20), y].sum().backward()
    >>> check = unitrank.check_scores(network, {"x": x, "y": y}, "1", h.grad.mean(0))
    >>> check.relation, check.method, check.target["score"]
    ('other_target', 'gradient', 'probability')
    >>> check.bug
    'softmax (or sigmoid) is applied before backward(), so these are gradients of the probability'
    """

    relation: Relation
    method: str | None
    layer: str
    at: str
    target: dict[str, Any]
    is_correct: bool
    detail: str
    bug: str
    advice: str
    corrected: str | None
    result: JobResult
    corrected_result: JobResult | None = None

    @property
    def overall(self) -> Overall | None:
        """The verdict on the scores over all clusters."""
        return self.result.rankings[SCORES].overall

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values, with the verdicts by ranking."""
        names = ("relation", "method", "layer", "at", "target", "is_correct", "detail", "bug", "advice", "corrected")
        overall = {SCORES: self.overall}
        if self.corrected and self.corrected_result:
            overall[self.corrected] = self.corrected_result.rankings[self.corrected].overall
        verdicts = {id: each and each.model_dump(mode="json") for id, each in overall.items()}
        return {**{name: getattr(self, name) for name in names}, "verdicts": verdicts}

    def __str__(self) -> str:
        lines = [f"scores:  {self.detail}"]
        if self.bug or self.is_correct:
            lines.append(f"bug:     {self.bug or 'none'}")
        if self.advice:
            lines.append(f"{'advice:' if self.is_correct else 'write:'.ljust(7)}  {self.advice}")
        lines.append(f"verdict: {_verdict(self.overall)}")
        if self.corrected and self.corrected_result:
            overall = self.corrected_result.rankings[self.corrected].overall
            lines.append(f"         without the bug, as `{self.corrected}`: {_verdict(overall)}")
        return "\n".join(lines)


SCORES = "scores"
"""Id of the given ranking."""


def _verdict(overall: Overall | None) -> str:
    if overall is None:
        return VERDICT_LABELS[None]
    better, worse = (
        (overall.p_family, overall.p_family_worse) if overall.p_family is not None else (overall.p_value, overall.p_worse)
    )
    p_value = worse if overall.verdict == "worse_than_random" else better
    label = VERDICT_LABELS[overall.verdict]
    return label if p_value is None else f"{label} (p = {p_value:.2g})"
