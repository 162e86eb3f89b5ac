"""The target F: one number for each example, computed from the model's output."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from unitrank_engine.errors import EngineError
from unitrank_schemas.jobs.targets import Target


@dataclass(frozen=True)
class Fixed:
    """The class and the rival of each row, fixed at the unaltered input.

    The rival is `target.against`; for the score `margin`, it is the class with the largest logit
    after that of the class.
    """

    classes: Int[Tensor, " rows"]
    rivals: Int[Tensor, " rows"]
    """0 for scores without a rival."""

    def repeat(self, times: int) -> "Fixed":
        """Class and rival for several copies of the rows: all rows once, then all rows again."""
        return self if times == 1 else Fixed(self.classes.repeat(times), self.rivals.repeat(times))

    def of(self, rows: slice) -> "Fixed":
        """Class and rival of some of the rows."""
        return Fixed(self.classes[rows], self.rivals[rows])

    def equals(self, other: "Fixed") -> bool:
        """Whether all classes and rivals are equal."""
        return torch.equal(self.classes, other.classes) and torch.equal(self.rivals, other.rivals)

    def distinct(self) -> tuple["Fixed", Int[Tensor, " rows"]]:
        """Each pair of class and rival once, and the index of each row's pair."""
        # A pair is one number here, because torch.unique is much faster for numbers than for pairs.
        count = int(self.rivals.max()) + 1
        pairs, pair_of_row = torch.unique(self.classes * count + self.rivals, return_inverse=True)
        return Fixed(pairs // count, pairs % count), pair_of_row


def logits(output: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows classes"]:
    """The output with one column for each class, in float32 or a wider type.

    A regression, with one value for each row, gives one column.
    """
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    return output.unsqueeze(1) if output.dim() == 1 else output


def fix(target: Target, output: Tensor, labels: Int[Tensor, " rows"] | None, against: Int[Tensor, " rows"] | None = None) -> Fixed:
    """The class and the rival of each row, from its unaltered output.

    `labels`: class numbers, for the target class `label`.
    `against`: class numbers, for a target that compares two classes.

    Raises EngineError `class_out_of_range` for a number that is not a class of the model.

    >>> target = Target.model_validate({"class": "predicted", "score": "margin"})
    >>> output = torch.tensor([[5.0, 4.0, 0.0]])
    >>> fixed = fix(target, output, None)
    >>> fixed.classes, fixed.rivals
    (tensor([0]), tensor([1]))
    >>> score(target, output, fixed)
    tensor([1.])
    """
    z = class_logits(target, output)
    if target.class_ is None:
        classes = torch.zeros(len(z), dtype=torch.long, device=z.device)
    elif target.class_ == "predicted":
        classes = predicted(target, output)
    elif target.class_ == "label":
        assert labels is not None
        classes = _within("label", labels, z.shape[1])
    else:
        classes = torch.full((len(z),), int(target.class_), dtype=torch.long, device=z.device)
    if against is not None:
        return Fixed(classes, _within("`target.against`", against, z.shape[1]))
    if target.score != "margin":
        # Rivals are 0, so that equal targets compare equal.
        return Fixed(classes, torch.zeros_like(classes))
    return Fixed(classes, z.scatter(1, classes[:, None], -torch.inf).argmax(1))


def _within(subject: str, numbers: Int[Tensor, " rows"], count: int) -> Int[Tensor, " rows"]:
    outside = numbers[(numbers < 0) | (numbers >= count)]
    if len(outside):
        detail = f"{subject} {int(outside[0])} is not a class of the model; use numbers from 0 to {count - 1}"
        raise EngineError("class_out_of_range", detail)
    return numbers


def score(target: Target, output: Tensor, fixed: Fixed) -> Float[Tensor, " rows"]:
    """The target F of each row."""
    # For `log_probability` as well, because the normaliser of two classes' logarithms is the same.
    return (SCORES[target.score] if target.against is None else _margin)(target, output, fixed)


def has_classes(target: Target, output: Tensor) -> bool:
    """Whether the target explains a class, and not the one value of each row as it is."""
    return not _is_single(output) or target.class_ is not None


def predicted(target: Target, output: Tensor) -> Int[Tensor, " rows"]:
    """The class that the model predicts for each row.

    For an output of one value, this is class 1 where the logit is above 0, or the probability above
    one half.
    """
    return (_probabilities if target.output_is == "probabilities" else class_logits)(target, output).argmax(1)


def class_logits(target: Target, output: Tensor) -> Float[Tensor, "rows classes"]:
    """The logit of each class.

    If an output of one value z has classes, the logits are −z for class 0 and z for class 1. For
    probabilities, z is log p − log(1 − p); with several classes, a logit is log p.
    """
    if not _is_binary(target, output):
        return _log(logits(output)) if target.output_is == "probabilities" else logits(output)
    z = logits(output)
    if target.output_is == "probabilities":
        z = _log(z) - _log(1 - z)
    return torch.cat([-z, z], 1)


def is_linear(target: Target) -> bool:
    """Whether F is a linear function of the model's output."""
    return target.output_is == "logits" if target.against is not None else target.score in LINEAR_SCORES[target.output_is]


def resembles_probabilities(output: Tensor) -> Bool[Tensor, " rows"]:
    """Whether the values of each row lie in [0, 1] and sum to 1 within 1e-4.

    A single value only has to lie in [0, 1].
    """
    values = logits(output)
    within = ((values >= 0) & (values <= 1)).all(1)
    return within if _is_single(output) else within & ((values.sum(1) - 1).abs() <= SUM_OF_PROBABILITIES)


def _is_single(output: Tensor) -> bool:
    return output.dim() == 1 or output.shape[1] == 1


def _is_binary(target: Target, output: Tensor) -> bool:
    return _is_single(output) and target.class_ is not None


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(LEAST_PROBABILITY).log()


def _probabilities(target: Target, output: Tensor) -> Float[Tensor, "rows classes"]:
    binary = _is_binary(target, output)
    if target.output_is == "probabilities":
        p = logits(output)
        return torch.cat([1 - p, p], 1) if binary else p
    z = class_logits(target, output)
    return z.sigmoid() if binary else z.softmax(1)


def _log_probabilities(target: Target, output: Tensor) -> Float[Tensor, "rows classes"]:
    if target.output_is == "probabilities":
        return _log(_probabilities(target, output))
    z = class_logits(target, output)
    return logsigmoid(z) if _is_binary(target, output) else z.log_softmax(1)


def _of_class(values: Tensor, fixed: Fixed) -> Tensor:
    return values.gather(1, fixed.classes[:, None])[:, 0]


def _logit(target: Target, output: Tensor, fixed: Fixed) -> Tensor:
    return _of_class(class_logits(target, output), fixed)


def _centered(target: Target, output: Tensor, fixed: Fixed) -> Tensor:
    z = class_logits(target, output)
    return _of_class(z, fixed) - z.mean(1)


def _margin(target: Target, output: Tensor, fixed: Fixed) -> Tensor:
    z = class_logits(target, output)
    return _of_class(z, fixed) - z.gather(1, fixed.rivals[:, None])[:, 0]


def _probability(target: Target, output: Tensor, fixed: Fixed) -> Tensor:
    return _of_class(_probabilities(target, output), fixed)


def _log_probability(target: Target, output: Tensor, fixed: Fixed) -> Tensor:
    return _of_class(_log_probabilities(target, output), fixed)


# Score of the schema `Target` → the function that computes F from the model's output.
SCORES = {
    "logit": _logit,
    "centered": _centered,
    "margin": _margin,
    "probability": _probability,
    "log_probability": _log_probability,
}

LINEAR_SCORES = {"logits": frozenset({"logit", "centered", "margin"}), "probabilities": frozenset({"probability"})}
"""Kind of the output → scores that are a linear function of the output."""
LEAST_PROBABILITY = 1e-12
"""The logarithm of a probability is taken of at least this number."""
SUM_OF_PROBABILITIES = 1e-4
"""The largest difference from 1 of a sum of rounded probabilities."""
