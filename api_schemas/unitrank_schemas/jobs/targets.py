"""The target: the scalar of the model's output that is explained."""

from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import Schema

Score = Literal["logit", "centered", "margin", "probability", "log_probability"]
ClassChoice = Literal["label", "predicted"] | Annotated[int, Field(ge=0)] | None


class Target(Schema):
    """The explained class and score. Class and rival (`margin`) are those of the original input."""

    class_: ClassChoice = Field(
        None,
        alias="class",
        description="`label`, `predicted` or a class number; null for an output without classes. Default: `label` if the dataset "
        "has labels, else `predicted`.",
    )
    score: Score = Field(
        "logit",
        description="`centered`: the logit minus the mean over classes; `margin`: the logit minus that of the best other class.",
    )
