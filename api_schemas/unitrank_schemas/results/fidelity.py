"""Fidelity: the predicted drop of the target, compared with the real drop."""

from pydantic import Field

from unitrank_schemas.base import Schema


class Difference(Schema):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class FidelityResult(Schema):
    """The predicted drop of the target, compared with the real drop when units are replaced."""

    mae: float = Field(description="Mean over examples of |sum of the replaced units' scores − real drop|, in units of F.")
    mae_of_zero: float = Field(description="Mean |real drop|: the `mae` of always predicting no change.")
    bias: float = Field(description="Mean of predicted − real drop, in units of F.")
    spearman: float | None = Field(None, description="Spearman correlation of predicted and real drop over the examples.")
    against: str | None = Field(None, description="The other ranking with the lowest `mae`; the next three fields compare with it.")
    mann_whitney: float | None = Field(None, description="p-value of the Mann–Whitney test of the two rankings' errors.")
    wilcoxon: float | None = Field(None, description="p-value of the Wilcoxon signed-rank test of the paired errors.")
    mean_difference: Difference | None = Field(
        None, description="Mean of this ranking's errors minus those of `against`; below zero, this ranking predicts better."
    )
