"""What every method's entry takes."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from unitrank_schemas.base import Schema

Statistic = Literal["mean", "mean_abs", "rms"]
RankingId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class MethodBase(Schema):
    """What every entry takes: how a cluster's examples are reduced, and the ranking's own name."""

    title: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    cost: ClassVar[str]
    complete: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True
    needs_baseline: ClassVar[bool] = False

    name: str
    statistic: Statistic = "mean"
    id: RankingId | None = Field(None, description="Default: the name, with `.<statistic>` when it is not `mean`.")
