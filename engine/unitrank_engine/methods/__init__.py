"""Methods compute a score for each unit and example. Each method is a class, each family a file.

In the formulas, x is an example and x′ its baseline; h and h′ are the place's values at x and x′; F
is the target; s is the score. The tail is the part of the model after the place.

A method is complete if the scores of each example sum to F(x) − F(x′) at every cut. A cut is a
place that every path from input to output passes.

The formula, the source and the cost of a method are in its card, which is its schema in
`unitrank_schemas/methods/`. `METHODS` has the methods of all families by name.

>>> sorted(METHODS)[:3]
['activation', 'conductance', 'deeplift']
"""

from unitrank_engine.methods import (
    activation,
    deeplift,
    exact_ablation,
    given,
    grad_cam,
    gradient,
    path,
    random,
    shapley,
    taylor,
    weight_norm,
)
from unitrank_engine.methods.batch import Batch, PathEnds, Point
from unitrank_engine.methods.method import ScoringMethod

FAMILIES = (activation, gradient, path, deeplift, exact_ablation, shapley, taylor, weight_norm, grad_cam, random, given)
METHODS: dict[str, type[ScoringMethod]] = {name: method for family in FAMILIES for name, method in family.FAMILY.items()}

__all__ = ["METHODS", "Batch", "PathEnds", "Point", "ScoringMethod"]
