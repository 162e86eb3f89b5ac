"""The target: the scalar of the model's output that is explained."""

from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import Schema

Score = Literal["logit", "centered", "margin", "probability", "log_probability"]
ClassWord = Literal["label", "predicted", "each"]
ClassChoice = ClassWord | Annotated[int, Field(ge=0)] | None
OutputKind = Literal["logits", "probabilities"]


class ReduceAt(Schema):
    """One position of an output: an index for each axis beside the batch and the classes."""

    at: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, max_length=16, examples=[[0]])


Reduce = Literal["mean", "max"] | ReduceAt


class ClassField(Schema):
    """A field of the dataset with a class number for each example."""

    field: str = Field(min_length=1, examples=["other"])


Contrast = Annotated[int, Field(ge=0)] | ClassField | None


class Target(Schema):
    """The explained class and score. Class and rival (`margin`) are those of the original input."""

    class_: ClassChoice = Field(
        None,
        alias="class",
        description="`label`, `predicted`, a class number, or `each`: every class is explained, and each method gives one ranking "
        "for each class, `<id>@<class>`. For an output of shape [N] or [N, 1], null explains the raw value; with a class, the "
        "output z is the logit of class 1, and the logit of class 0 is −z. Default: null for such an output; for others `label` if "
        "the dataset has labels, else `predicted`.",
    )
    score: Score = Field(
        "logit",
        description="`centered`: the logit minus the mean over classes; `margin`: the logit minus that of the best other class.",
    )
    against: Contrast = Field(
        None,
        description="Another class, by its number or by a field with a number for each example. The score is then the logit of the "
        "class minus the logit of this class: with `logit`, and with `log_probability`, which gives the same number. Other scores "
        "are rejected, and so is the class `each`.",
    )
    reduce: Reduce | None = Field(
        None,
        description="For an output with further axes, such as one row of logits for each pixel or token: `mean` or `max` over "
        "these axes, or the values at one position. It acts before everything else. The axis that stays is `class_axis` of the "
        "model's output.",
    )
    output_is: OutputKind = Field(
        "logits",
        description="`probabilities`: the model ends in softmax or sigmoid. `probability` is then the output itself, and the other "
        "scores use its logarithm as the logit; probabilities under 1e-12 count as 1e-12.",
    )
