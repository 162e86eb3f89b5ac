"""The target F: one number an example, read from the model's output."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_schemas.jobs.targets import Target


@dataclass(frozen=True)
class Fixed:
    """The class of each row, and margin's rival: both as they are at the unaltered input."""

    classes: Int[Tensor, " rows"]
    rivals: Int[Tensor, " rows"]
    """0 where the score has none."""

    def repeat(self, times: int) -> "Fixed":
        """The same for the rows several times over, one full round after another."""
        return self if times == 1 else Fixed(self.classes.repeat(times), self.rivals.repeat(times))

    def equals(self, other: "Fixed") -> bool:
        return torch.equal(self.classes, other.classes) and torch.equal(self.rivals, other.rivals)

    def distinct(self) -> tuple["Fixed", Int[Tensor, " rows"]]:
        """Each pair of class and rival once, and which of them a row has."""
        # as one number, which is found much sooner than a pair
        count = int(self.rivals.max()) + 1
        pairs, which = torch.unique(self.classes * count + self.rivals, return_inverse=True)
        return Fixed(pairs // count, pairs % count), which


def logits(output: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows classes"]:
    """The output in float32 at least, with one column a class; a regression's single value is one column."""
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    return output.unsqueeze(1) if output.dim() == 1 else output


def fix(target: Target, output: Tensor, labels: Int[Tensor, " rows"] | None) -> Fixed:
    """Class and rival of each row from its unaltered output. Raises EngineError `class_out_of_range`."""
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
        # so that targets that are equal look equal
        return Fixed(classes, torch.zeros_like(classes))
    return Fixed(classes, z.scatter(1, classes[:, None], -torch.inf).argmax(1))


def _within(labels: Int[Tensor, " rows"], count: int) -> Int[Tensor, " rows"]:
    wrong = labels[(labels < 0) | (labels >= count)]
    if len(wrong):
        raise EngineError(
            "class_out_of_range", f"label {int(wrong[0])} is no class of the model; labels must be from 0 to {count - 1}"
        )
    return labels


def score(target: Target, output: Tensor, fixed: Fixed) -> Float[Tensor, " rows"]:
    """F of each row."""
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


SCORES = {
    "logit": _of_class,
    "centered": _centered,
    "margin": _margin,
    "probability": _probability,
    "log_probability": _log_probability,
}

LINEAR_SCORES = frozenset({"logit", "centered", "margin"})
