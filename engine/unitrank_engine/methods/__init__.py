"""Methods: how each unit gets its score, one class each; each family has its table, and this file has all of them."""

from unitrank_engine.methods import activation, deeplift, exact_ablation, grad_cam, gradient, path, random
from unitrank_engine.methods.batch import Batch, PathEnds, Point
from unitrank_engine.methods.method import ScoringMethod

FAMILIES = (activation, gradient, path, deeplift, exact_ablation, grad_cam, random)
METHODS: dict[str, type[ScoringMethod]] = {name: method for family in FAMILIES for name, method in family.FAMILY.items()}

__all__ = ["METHODS", "Batch", "PathEnds", "Point", "ScoringMethod"]
