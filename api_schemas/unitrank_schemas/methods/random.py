"""Random: noise as a control."""

from typing import Literal

from unitrank_schemas.methods.base import MethodBase, MethodPasses


class Random(MethodBase):
    """Seeded noise, which every useful method must beat."""

    title = "Random"
    summary = "Independent normal noise for every example and unit, as a control."
    formula = "N(0, 1)"
    source = "control"
    cost = "nothing"
    needs_gradient = False
    explains_class = False
    seeded_by_id = True
    in_units_of_target = False

    name: Literal["random"] = "random"

    def passes(self, tail: float, units: int) -> MethodPasses:
        return MethodPasses("nothing", 0.0)


Family = Random
