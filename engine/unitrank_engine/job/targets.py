"""The target F: one number for each example, computed from the model's output."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_schemas.jobs.targets import Target


@dataclass(frozen=True)
class Fixed:
    """The class and the rival of each row, fixed at the unaltered input.

    The rival is the class with the largest logit after that of the class. Only the score `margin`
    uses it.
    """

    classes: Int[Tensor, " rows"]
    rivals: Int[Tensor, " rows"]
    """0 for scores without a rival."""

    def repeat(self, times: int) -> "Fixed":
        """Class and rival for several copies of the rows: all rows once, then all rows again."""
        return self if times == 1 else Fixed(self.classes.repeat(times), self.rivals.repeat(times))

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


def fix(target: Target, output: Tensor, labels: Int[Tensor, " rows"] | None) -> Fixed:
    """The class and the rival of each row, from its unaltered output.

    `labels`: class numbers, for the target class `label`.

    Raises EngineError `class_out_of_range` for a label that is not a class of the model.

    >>> target = Target.model_validate({"class": "predicted", "score": "margin"})
    >>> output = torch.tensor([[5.0, 4.0, 0.0]])
    >>> fixed = fix(target, output, None)
    >>> fixed.classes, fixed.rivals
    (tensor([0]), tensor([1]))
    >>> score(target, output, fixed)
    tensor([1.])
    """
    z = logits(output)
    if target.class_ is None:
        classes = torch.zeros(len(z), dtype=torch.long, device=z.device)
    elif target.class_ == "predicted":
        classes = z.argmax(1)
    elif target.class_ == "label":
        assert labels is not None
        classes = _within(labels, z.shape[1])
    else:
        classes = torch.full((len(z),), int(target.class_), dtype=torch.long, device=z.device)
    if target.score != "margin":
        # Rivals are 0, so that equal targets compare equal.
        return Fixed(classes, torch.zeros_like(classes))
    return Fixed(classes, z.scatter(1, classes[:, None], -torch.inf).argmax(1))


def _within(labels: Int[Tensor, " rows"], count: int) -> Int[Tensor, " rows"]:
    outside = labels[(labels < 0) | (labels >= count)]
    if len(outside):
        label = int(outside[0])
        raise EngineError("class_out_of_range", f"label {label} is not a class of the model; labels must be from 0 to {count - 1}")
    return labels


def score(target: Target, output: Tensor, fixed: Fixed) -> Float[Tensor, " rows"]:
    """The target F of each row."""
    return SCORES[target.score](logits(output), fixed)


def _of_class(z: Tensor, fixed: Fixed) -> Tensor:
    return z.gather(1, fixed.classes[:, None])[:, 0]


def _centered(z: Tensor, fixed: Fixed) -> Tensor:
    return _of_class(z, fixed) - z.mean(1)


def _margin(z: Tensor, fixed: Fixed) -> Tensor:
    return _of_class(z, fixed) - z.gather(1, fixed.rivals[:, None])[:, 0]


def _probability(z: Tensor, fixed: Fixed) -> Tensor:
    return _of_class(z.softmax(1), fixed)


def _log_probability(z: Tensor, fixed: Fixed) -> Tensor:
    return _of_class(z.log_softmax(1), fixed)


# Score of the schema `Target` → the function that computes F from the logits z.
SCORES = {
    "logit": _of_class,
    "centered": _centered,
    "margin": _margin,
    "probability": _probability,
    "log_probability": _log_probability,
}

LINEAR_SCORES = frozenset({"logit", "centered", "margin"})
"""Scores that are a linear function of the logits."""
