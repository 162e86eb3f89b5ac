"""Taylor: the squared first-order change of the target."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import FILL, Fill
from unitrank_schemas.methods.base import MethodBase


class Taylor(MethodBase):
    """Squared first-order change."""

    title = "Taylor"
    summary = "The square of the first-order change of the target when the unit is replaced, averaged over the examples."
    formula = "((h − fill) · ∂F/∂h)²"
    source = "Molchanov et al. 2019, arXiv:1906.10771"
    cost = "one forward and one backward pass through the layers after the place"
    in_units_of_target = False

    name: Literal["taylor"] = "taylor"
    statistic: Literal["mean"] = Field("mean", description="Only the mean: the scores are squares already.")
    fill: Fill = Field("baseline", description=FILL)

    def looks_at_input_only(self) -> bool:
        return True


Family = Taylor
