"""Random: the control that any method must beat."""

from typing import Literal

from unitrank_schemas.methods.base import MethodBase, MethodPasses


class Random(MethodBase):
    """Seeded noise: what any method must beat."""

    title = "Random"
    summary = "Independent normal noise for every example and unit: the control."
    formula = "N(0, 1)"
    source = "control"
    cost = "nothing"
    needs_gradient = False
    seeded_by_id = True

    name: Literal["random"] = "random"

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses("nothing", 0.0)


Family = Random
