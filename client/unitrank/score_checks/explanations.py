"""The likely bug behind each relation, and the code that corrects it."""

from dataclasses import dataclass

from unitrank.score_checks.candidates import Candidate
from unitrank_schemas.results import Relation


@dataclass(frozen=True)
class Explanation:
    """`bug`: the likely bug, empty without one. `advice`: the change that corrects the code."""

    bug: str
    advice: str


SELECT = "output[torch.arange(len(y)), y].sum().backward()"
"""The gradient of each example's own score: no example's score depends on another example."""

CLAIMED: dict[Relation, Explanation] = {
    "equal": Explanation("", ""),
    "factor": Explanation(
        "the scores have another scale; neither their order nor the verdict changes",
        "add the scores of all batches, and divide once, by the number of all examples",
    ),
    "reversed": Explanation(
        "the sign is reversed, so the most important units come last; a gradient of a loss has this sign",
        f"take the gradient of the score, and not of the loss: {SELECT}",
    ),
    "other_statistic": Explanation(
        "the examples are combined in another way than by their mean",
        "add the signed scores of the examples of each cluster, and divide by their number; or say that another statistic is meant",
    ),
    "first_examples": Explanation(
        "the scores are made from the first examples only: the loop over the batches stops too early, or "
        "only the first batch is kept",
        "total += scores.sum(0) for every batch, and total / number_of_examples after the loop",
    ),
    "zero": Explanation(
        "no gradient arrived: `requires_grad` was set on a detached copy, and the output does not depend on that copy",
        "in the hook, call output.retain_grad() on the layer's own output, and read output.grad after backward(); or return the "
        "copy from the hook, so that the network continues with it",
    ),
    "none": Explanation("", ""),
}
"""Relation at the named place, for the named target."""

PLACE = Explanation(
    "the scores belong to another place than the layer that was named: {place}",
    "register the hook on the layer that is meant; clone a value that the hook keeps, because an in-place activation overwrites it",
)
SCORES: dict[str, Explanation] = {
    "probability": Explanation(
        "softmax (or sigmoid) is applied before backward(), so these are gradients of the probability", f"use the logits: {SELECT}"
    ),
    "log_probability": Explanation(
        "log_softmax (or a cross-entropy loss) comes before backward(), so these are gradients of the log-probability; with the "
        "reversed sign, of the loss",
        f"use the logits: {SELECT}",
    ),
    "logit": Explanation(
        "backward() starts at the logits, before softmax or log_softmax",
        "apply the same function as the target names, then backward()",
    ),
}
CLASS = Explanation(
    "these are scores of {class_}", f"select the class that is meant before backward(), such as the label: {SELECT}"
)
ALL_CLASSES = Explanation(
    "all outputs are added before backward(), so these are scores of the sum over the classes", f"select one class first: {SELECT}"
)
NOT_BETTER = (
    "the code computes this method, so the method is the reason: signed scores can cancel in the mean; make a cluster for each "
    "label, or use the statistic mean_abs or the method conductance"
)
"""The advice for scores without a bug that are not better than random."""
TRAINING = Explanation(
    "the network has {layers}, and is in training mode now; such layers change every pass, so no candidate can be equal",
    "call model.eval() before the examples pass, and compute the scores again",
)
EVALUATION = Explanation(
    "none of the candidates; but the network has {layers}: without model.eval(), such layers change the scores",
    "call model.eval() before the examples pass, and compute the scores again",
)


def explain(relation: Relation, candidate: Candidate) -> Explanation:
    """The bug and the advice for scores that have a relation to a candidate."""
    if candidate.place is not None:
        return Explanation(PLACE.bug.format(place=candidate.place), PLACE.advice)
    if candidate.score is not None:
        other = Explanation(f"these are scores of the target {candidate.score!r}", "use the score that is meant")
        return SCORES.get(candidate.score, other)
    if candidate.class_ is not None:
        return Explanation(CLASS.bug.format(class_=candidate.class_), CLASS.advice)
    return CLAIMED[relation]
