"""The target: the scalar of the model's output that is explained."""

from typing import Annotated, Literal

from pydantic import Field

from unitrank_schemas.base import Schema

Score = Literal["logit", "centered", "margin", "probability", "log_probability"]
ClassChoice = Literal["label", "predicted"] | Annotated[int, Field(ge=0)] | None


class Target(Schema):
    """Which class and which score of it; class and margin's rival are fixed at the unaltered input."""

    class_: ClassChoice = Field(
        None,
        alias="class",
        description="`label` (default where there are labels), `predicted`, a class number; null for an output without classes.",
    )
    score: Score = Field(
        "logit",
        description="`centered`: minus the mean over classes; `margin`: minus the best other class.",
    )
